"""Methods that train a part of the loaded batch, chosen in the step itself."""

from __future__ import annotations

import pytest
import torch

from ausam_core import in_second_pass
from ausam_core.mmengine import AUSAMHook, model_call
from tests.ausam_core.mmengine.tiny import HALF, SAM, Net, Probe, train


def wrapper(kind, **settings):
    return {**SAM, "method": dict(type=kind, rho=0.1, **settings)}


def test_ksam_looks_at_the_whole_batch_without_a_graph(tmp_path):
    passes = []

    class Watched(Net):
        def forward(self, inputs, data_samples=None, mode="tensor"):
            passes.append((len(inputs), torch.is_grad_enabled(), in_second_pass()))
            return super().forward(inputs, data_samples, mode)

    model = Watched()
    runner = train(tmp_path, model=model, wrapper=wrapper("KSAM", gamma=0.25), epochs=1)
    assert passes == [(8, False, False), (2, True, False), (2, True, True)] * 3
    assert runner.optim_wrapper.method.cost.passes == 3 * (8 / 3 + 2 * 2)
    assert int(model.body[1].num_batches_tracked) == 3


def test_ksam_that_waits_trains_as_the_base_optimizer(tmp_path):
    probes = [Probe(), Probe()]
    for kind, probe in zip(("KSAM", "Base"), probes, strict=True):
        settings = dict(start=0.9) if kind == "KSAM" else {}
        method = dict(type=kind, **settings)
        train(tmp_path, wrapper={**SAM, "method": method}, hooks=[probe], epochs=2)
    ours, theirs = (probe.weights for probe in probes)
    assert all(map(torch.equal, ours[:-1], theirs[:-1]))
    assert not torch.equal(ours[-1], theirs[-1])  # the last update is the method's


@pytest.mark.parametrize(("kind", "settings"), [("ESAM", dict(beta=1.0)), ("KSAM", {})])
def test_each_sample_of_the_part_keeps_its_own_weight(kind, settings, tmp_path, monkeypatch):
    seen = []

    def spy(call, loss, subset=None):
        weights = call.exchange.batch.weights
        if subset is not None and weights is not None:
            seen.append((subset, weights.values, [None]))
        return record(call, loss, subset)

    def mean(per_sample, weights):
        if seen and len(weights) == len(seen[-1][0]):
            seen[-1][2][0] = weights
        return torch.mean(per_sample * weights)

    record = model_call.ModelCall.record
    monkeypatch.setattr(model_call.ModelCall, "record", spy)
    monkeypatch.setattr(model_call, "mean_loss", mean)
    kept = wrapper(kind, gamma=0.5, **settings)
    selection = {**HALF, "importance": True, "alpha": 0.75, "s_max": 1.0, "start_epoch": 0}
    model = Net(loss=None)
    train(tmp_path, model=model, wrapper=kept, selection=selection, hooks=[AUSAMHook()], epochs=3)
    assert seen and any(s.tolist() != list(range(len(s))) for s, *_ in seen)
    for subset, weights, (used,) in seen:
        assert torch.equal(used, weights[subset])
