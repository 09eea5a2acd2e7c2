"""What only a GPU can show: no step waits for it, and fp16 with a real scaler."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ausam_core import (
    ESAM,
    GSAM,
    KSAM,
    MESA,
    SAF,
    SAM,
    VSAM,
    Base,
    Batch,
    ForwardRecord,
    GradientNormSelection,
    LookSAM,
    Weights,
    in_second_pass,
)

pytestmark = pytest.mark.gpu

METHODS = {
    "Base": (Base, {}),
    "SAM": (SAM, {}),
    "ASAM": (SAM, dict(adaptive=True)),
    "GSAM": (GSAM, {}),
    "LookSAM": (LookSAM, dict(k=2)),
    "ESAM": (ESAM, {}),
    "KSAM": (KSAM, {}),
    "VSAM": (VSAM, dict(warmup_steps=100)),
    "SAF": (SAF, dict(start_epoch=-1, lag=1)),
    "MESA": (MESA, {}),
}


def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()
    model = nn.Sequential(*layers, nn.Linear(8 * 36, 10)).cuda()
    return model.to(memory_format=torch.channels_last)


def closure_of(model, x, y, dtype=None, factor=1.0):
    def closure(subset=slice(None)):
        with torch.autocast("cuda", dtype=dtype, enabled=dtype is not None):
            outputs = model(x[subset])
        losses = F.cross_entropy(outputs.float(), y[subset], reduction="none") * factor
        return ForwardRecord(losses.mean(), losses, outputs)

    return closure


@pytest.fixture
def batch():
    return torch.randn(16, 3, 8, 8, device="cuda"), torch.randint(10, (16,), device="cuda")


@pytest.mark.parametrize("name", METHODS)
def test_a_step_never_waits_for_the_device(name, batch):
    """AE-SAM is left out: it decides about code, on the host, and says so."""
    model = network()
    cls, settings = METHODS[name]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    method = cls(optimizer, model, **settings)
    selection = GradientNormSelection(16)
    planned = [Batch(list(range(16)), 16, epoch) for epoch in (0, 1, 2, 2)]
    for p in planned[:2]:
        method.step(closure_of(model, *batch), batch=p)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for p in planned[2:]:
            result = method.step(closure_of(model, *batch), batch=p)
            if result.difference is not None:
                selection.record(p.indices, result)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert result.finite


@pytest.mark.parametrize("cls, settings", [(ESAM, {}), (KSAM, {}), (SAM, dict(ascent=0.5))])
def test_the_weights_of_a_part_go_to_the_device_and_never_wait(cls, settings, batch):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    method = cls(optimizer, model, **settings)
    weights = Weights(torch.linspace(0.5, 1.5, 16), "both")
    planned = [Batch(list(range(16)), 16, epoch, weights) for epoch in (0, 1)]
    method.step(closure_of(model, *batch), batch=planned[0])
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = method.step(closure_of(model, *batch), batch=planned[1])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert result.finite


@pytest.mark.parametrize("bad_pass", [1, 2])
def test_an_fp16_overflow_backs_the_scale_off_and_leaves_the_weights(bad_pass, batch):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    scaler = torch.amp.GradScaler("cuda", init_scale=1024.0)
    method = SAM(optimizer, model, scaler=scaler)
    before = [p.detach().clone() for p in model.parameters()]
    x, y = batch

    def closure():
        bad = in_second_pass() == (bad_pass == 2)
        return closure_of(model, x, y, torch.float16, float("inf") if bad else 1.0)()

    assert not method.step(closure).finite
    assert scaler.get_scale() == 512.0
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), before, strict=True))
    assert method.step(closure_of(model, x, y, torch.float16)).finite


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_pass_two_sees_the_perturbed_weights_under_autocast(dtype, batch):
    """Autocast caches casts of the weights; a pass that saw w twice would find no difference."""
    full, half = network(), network()
    a = SAM(torch.optim.SGD(full.parameters(), lr=0.0), full, rho=0.5)
    b = SAM(torch.optim.SGD(half.parameters(), lr=0.0), half, rho=0.5)
    expected = a.step(closure_of(full, *batch)).difference
    found = b.step(closure_of(half, *batch, dtype)).difference
    torch.testing.assert_close(found, expected, rtol=0.2, atol=0.1)
    assert found.mean() > 0.05
