"""The same trajectories as kozistr/pytorch_optimizer, where its methods are those of the papers.

Its LookSAM projects by the norms of single tensors and runs two passes in every step, so there is
nothing to compare.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ausam_core import GSAM, SAM

theirs = pytest.importorskip("pytorch_optimizer")
SGD = dict(lr=0.1, momentum=0.9, weight_decay=1e-3)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))


def batches(count=20):
    g = torch.Generator().manual_seed(1)
    for _ in range(count):
        yield torch.randn(16, 6, generator=g), torch.randint(3, (16,), generator=g)


def assert_same(ours, other):
    for a, b in zip(ours.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rho", [0.05, 0.5])
def test_sam(rho):
    ours, other = network(), network()
    method = SAM(torch.optim.SGD(ours.parameters(), **SGD), ours, rho)
    reference = theirs.SAM(other.parameters(), torch.optim.SGD, rho=rho, **SGD)
    for x, y in batches():
        method.step(lambda: F.cross_entropy(ours(x), y, reduction="none"))  # noqa: B023

        def closure():
            reference.zero_grad()
            loss = F.cross_entropy(other(x), y)  # noqa: B023
            loss.backward()
            return loss

        closure()
        reference.step(closure)
    assert_same(ours, other)


class Constant:
    """A ρ that does not change, in the form that its GSAM asks for."""

    def step(self):
        return 0.2


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_gsam(alpha):
    ours, other = network(), network()
    method = GSAM(torch.optim.SGD(ours.parameters(), **SGD), ours, rho=0.2, alpha=alpha)
    base = torch.optim.SGD(other.parameters(), **SGD)
    reference = theirs.GSAM(other.parameters(), base, other, Constant(), alpha=alpha)
    for x, y in batches():
        method.step(lambda: F.cross_entropy(ours(x), y, reduction="none"))  # noqa: B023
        reference.set_closure(F.cross_entropy, x, y)
        reference.step()
    assert_same(ours, other)
