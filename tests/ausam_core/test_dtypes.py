"""Any floating dtype works, whatever torch's default is; what cannot is refused in one sentence."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ausam_core import GSAM, SAM, AusamError, Base, GradientNormSelection, LookSAM
from ausam_core.perturbation import Perturbation

X = torch.randn(16, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.randint(3, (16,), generator=torch.Generator().manual_seed(1))


def network(dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return model.to(dtype)


def losses_of(model):
    dtype = next(model.parameters()).dtype
    return lambda: F.cross_entropy(model(X.to(dtype)), Y, reduction="none")


@pytest.fixture(params=[torch.float32, torch.float64, torch.bfloat16], ids=str)
def default(request):
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cls", [Base, SAM, GSAM, LookSAM])
def test_every_floating_dtype_trains(cls, dtype, default):
    model = network(dtype)
    method = cls(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), model)
    selection = GradientNormSelection(16, start_epoch=0)
    before = [p.detach().clone() for p in model.parameters()]
    for _ in range(3):
        result = method.step(losses_of(model))
        assert result.finite and method.check() == 0
        if result.difference is not None:
            selection.record(range(16), result)
    selection.end_epoch()
    assert all(p.dtype == dtype for p in model.parameters())
    assert not any(torch.equal(p, w) for p, w in zip(model.parameters(), before, strict=True))
    if cls is not Base:
        scores = selection.scores.of(torch.arange(16))
        assert scores.dtype == torch.float32 and scores.isfinite().all()
        assert len(selection.choose(list(range(16)), 1, torch.Generator())) == 8


def test_fp64_is_fp64_all_the_way():
    """ε has the length ρ to the precision of the weights, which an fp32 norm would not give."""
    model = network(torch.float64)
    F.cross_entropy(model(X), Y).backward()
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    climb = Perturbation(torch.optim.SGD(model.parameters(), lr=1), rho=0.1).climb()
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert climb.norm.dtype == torch.float64
    assert float((after - before).norm()) == pytest.approx(0.1, rel=1e-10)


def test_mixed_dtypes_have_one_norm():
    model = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4).double(), nn.Linear(4, 4).bfloat16()])
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    climb = Perturbation(torch.optim.SGD(model.parameters(), lr=1), rho=0.1).climb()
    assert float(climb.norm) == pytest.approx(60**0.5)


def test_a_complex_parameter_is_refused_at_construction_and_when_it_comes_later():
    model = nn.Linear(2, 2)
    waves = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(AusamError, match=r"shape \[2\] is complex"):
        SAM(torch.optim.SGD([*model.parameters(), waves], lr=0.1), model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    method = SAM(optimizer, model)
    optimizer.add_param_group({"params": [waves]})
    with pytest.raises(AusamError, match="is complex"):
        method.step(lambda: model(torch.ones(2, 2)).sum(1))


@pytest.mark.parametrize("cls", [SAM, GSAM])
def test_autocast_around_the_step_is_autocast_in_the_closure(cls):
    """Autocast remembers its casts of the weights; pass 2 would see the old ones."""
    ends = []
    for where in ("inside", "outside"):
        model = network(torch.float32)
        method = cls(torch.optim.SGD(model.parameters(), lr=0.1), model, rho=1.0)

        def closure(model=model, where=where):
            with torch.autocast("cpu", torch.bfloat16, enabled=where == "inside"):
                return F.cross_entropy(model(X.float()).float(), Y, reduction="none")

        if where == "inside":
            results = [method.step(closure) for _ in range(3)]
        else:
            with torch.autocast("cpu", torch.bfloat16):
                results = [method.step(closure) for _ in range(3)]
        assert all(float(r.difference.mean()) > 0.05 for r in results)
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*ends, rtol=0.05, atol=0.02)
