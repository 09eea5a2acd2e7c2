"""Re-estimated statistics are those of the data, and nothing else changes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ausam_core.batch_norm_reestimation import reestimate
from ausam_core.errors import AusamError
from tests.tasks.qat.nets import CLASSES, images, quantized

on_a_quantized_network = pytest.mark.skipif(
    not hasattr(nn.Module, "set_submodule"), reason="tasks/qat needs torch 2.5"
)


def test_on_a_fixed_set_it_gives_the_exact_mean_and_variance():
    torch.manual_seed(0)
    layer = nn.BatchNorm2d(3)
    data = 5 + 2 * torch.randn(60, 3, 4, 4) + torch.arange(60.0).view(-1, 1, 1, 1)
    reestimate(layer, data.split([7, 20, 33]))
    flat = data.transpose(0, 1).flatten(1).double()
    torch.testing.assert_close(layer.running_mean.double(), flat.mean(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(layer.running_var.double(), flat.var(1), rtol=1e-6, atol=0)


@on_a_quantized_network
def test_weights_mode_and_counters_stay():
    network = quantized()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    momenta = [m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    reestimate(network, [images(seed=i) for i in range(3)])
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and all(k.endswith(("running_mean", "running_var")) for k in changed)
    assert not network.training
    layers = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert momenta == [m.momentum for m in layers] and all(m.track_running_stats for m in layers)


@on_a_quantized_network
def test_without_a_batch_it_refuses_and_leaves_the_statistics():
    network = quantized()
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(AusamError, match="without a batch"):
        reestimate(network, [])
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@on_a_quantized_network
def test_the_gap_between_training_and_evaluation_closes_when_codes_have_jumped():
    """Forced oscillation: a share of the weights jumps by a code, the statistics lag behind."""
    network = quantized()
    data, labels = images(64, seed=7), torch.arange(64) % CLASSES

    def gap():
        with torch.no_grad():
            in_training = F.cross_entropy(copy.deepcopy(network).train()(data), labels)
            return float((F.cross_entropy(network.eval()(data), labels) - in_training).abs())

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, layer in network.layers()[1:-1]:
            jumps = torch.rand(layer.weight.shape, generator=generator) < 0.3
            layer.weight.add_(jumps * layer.step.view(-1, 1, 1, 1))
    before = gap()
    reestimate(network, data.split(16))
    assert gap() < 0.3 * before


def frozen_by_momentum(layer):
    layer.momentum = 0


def frozen_by_mode(layer):
    layer.eval()


def frozen_by_itself(layer):
    layer.track_running_stats = False


@pytest.mark.parametrize("freeze", [frozen_by_momentum, frozen_by_mode, frozen_by_itself])
def test_statistics_that_were_frozen_stay_and_the_others_follow_them(freeze):
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    freeze(net[0])
    before = copy.deepcopy(net.state_dict())
    data = 3 + 2 * torch.randn(40, 3, 4, 4)
    reestimate(net, data.split(20))
    after = net.state_dict()
    assert torch.equal(after["0.running_mean"], before["0.running_mean"])
    assert torch.equal(after["0.running_var"], before["0.running_var"])
    net[0].track_running_stats = True
    with torch.no_grad():
        seen = net[1](net[0].eval()(data))
    torch.testing.assert_close(after["2.running_mean"], seen.mean((0, 2, 3)))


def test_dropout_is_off_and_every_mode_comes_back():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    net[2].eval()
    data = torch.randn(64, 3) + 2
    reestimate(net, [data])
    torch.testing.assert_close(net[1].running_mean, data.mean(0))
    assert [module.training for module in net] == [True, True, False] and net.training


def test_a_model_without_batch_norm_runs_and_stays():
    reestimate(nn.Linear(3, 3), [])


def test_a_forward_that_fails_leaves_the_statistics_and_modes():
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(4, 2)).train()
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(RuntimeError):
        reestimate(net, [torch.randn(8, 3)])
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert net[0].training and net[0].track_running_stats
