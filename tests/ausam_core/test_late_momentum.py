"""A layer that is thawed later trains on as with torch's unfused SGD, which can begin its momentum
at any time."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ausam_core import SAM


def trained(
    net: nn.Module, fused: bool, scaled: bool = False, **settings: float
) -> dict[str, torch.Tensor]:
    """Six steps of SAM, the first layer frozen in the first two."""
    net = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, fused=fused, **settings)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0) if scaled else None
    method = SAM(optimizer, net, rho=0.05, scaler=scaler)
    draw = torch.Generator().manual_seed(1)
    for step in range(6):
        net[0].requires_grad_(step >= 2)
        images, labels = torch.randn(8, 4, generator=draw), torch.arange(8) % 3
        method.step(lambda: F.cross_entropy(net(images), labels, reduction="none"))  # noqa: B023
    return {
        **net.state_dict(),
        **{f"momentum {i}": s["momentum_buffer"] for i, s in enumerate(optimizer.state.values())},
    }


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
def test_a_layer_that_is_thawed_later_trains_on(net, nesterov, scaled):
    settings = dict(momentum=0.9, weight_decay=1e-3, nesterov=nesterov)
    expected, found = trained(net, False, **settings), trained(net, True, scaled, **settings)
    assert len(found) == len(expected)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=1e-5)
        assert not torch.equal(found[name], value), name


def test_torch_alone_dies_of_it():
    """The reason for the module: when this fails, torch can do it, and the module can go."""
    first, late = (nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = torch.optim.SGD([first, late], lr=0.1, momentum=0.9, fused=True)
    first.grad = torch.ones(3)
    optimizer.step()
    late.grad = torch.ones(3)
    with pytest.raises(TypeError, match="NoneType"):
        optimizer.step()
