"""In evaluation what is added to the sums of a layer is a whole number, as in an integer engine."""

import copy

import pytest
import torch
from torch import nn

from tasks.qat.behind_sums import affine_map, affine_of, stretch, unit_of
from tasks.qat.calibration import calibrate
from tasks.qat.convert import convert
from tasks.qat.deploy.agreement import compare_with_training
from tasks.qat.deploy.lower import lower
from tasks.qat.grid import Grid
from tasks.qat.policy import Policy
from tests.tasks.qat.cases import conv
from tests.tasks.qat.nets import images, quantized


def norms_at_work(net):
    """BatchNorms as after training: no constant is 0 or 1."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                module.weight.data.normal_()
                module.bias.data.normal_()
    return net


def ready(net, policy=None):
    network = convert(norms_at_work(net), policy or Policy()).eval()
    calibrate(network, [images(seed=200)])
    return network.eval()


def maps(network, *part):
    """The affine map as trained, and as it is in a pass of evaluation."""
    with torch.no_grad():
        trained = affine_map(*part)
        with network.quantized_weights():
            return trained, affine_map(*part)


def parts(network):
    """Layer, quantizer of its input and BatchNorm of each layer with a whole bias."""
    rows = {row.name: row for row in network.table}
    for name, held_by in network.holders.items():
        holder = network.body.get_submodule(held_by)
        layer = network.body.get_submodule(name)
        quantizer = network.body.get_submodule(rows[name].activation)
        yield layer, quantizer, None if holder is layer else holder


@pytest.mark.parametrize("policy", [Policy(), Policy(8, 8), Policy(4, 8, first_last=(7, 8))])
@pytest.mark.parametrize("kind", ["residual", "depthwise"])
def test_each_offset_is_a_whole_number_of_units_less_than_half_of_one_away(kind, policy):
    network = quantized(kind, policy)
    norms_at_work(network)
    assert network.holders.keys() == {row.name for row in network.table}
    moved = 0.0
    for layer, quantizer, norm in parts(network):
        (multiplier, trained), (same, offset) = maps(network, layer, quantizer, norm)
        unit = unit_of(multiplier, trained, stretch(layer.weight, layer.grid, quantizer.grid))
        count = offset / unit
        assert torch.equal(same, multiplier)
        assert torch.allclose(count, count.round(), atol=0.02, rtol=1e-6)  # the bias is in fp32
        assert ((offset - trained).abs() <= 0.51 * unit + 1e-6 * trained.abs()).all()
        moved = max(moved, float(((offset - trained) / unit).abs().max()))
    assert moved > 0.3  # it was none before


def result_of(network, module, x):
    """What a module gives in a forward pass of the network."""
    found = []
    hook = module.register_forward_hook(lambda module, inputs, output: found.append(output))
    network(x)
    hook.remove()
    return found[-1]


@pytest.mark.parametrize("training", [False, True])
def test_evaluation_has_that_offset_and_training_the_trained_one(training):
    network = ready(nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3)))
    (layer, quantizer, norm), _ = parts(network.train(training))
    norm.eval()  # in training: as where statistics are frozen
    with torch.no_grad():
        sums = result_of(network, layer, images(8)).double()
        found = result_of(network, norm, images(8)).double()
        scale = affine_of(norm, norm.bias)[0].view(-1, 1, 1)
        trained, whole = maps(network.eval(), layer, quantizer, norm)
        for (_, offset), expected in ((whole, not training), (trained, training)):
            result = sums * scale + offset.view(-1, 1, 1)
            assert torch.allclose(found, result, atol=1e-5, rtol=0) is expected


def test_nothing_of_it_is_left_behind_or_goes_into_the_state():
    net = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3))
    names = {f"body.{name}" for name in net.state_dict()}
    network = ready(net)
    before = copy.deepcopy(network.state_dict())
    network(images())
    after = network.state_dict()
    assert names <= after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(m.whole_bias is None for m in network.modules() if hasattr(m, "whole_bias"))


def test_the_gradient_of_a_whole_bias_is_that_of_the_bias():
    network = ready(nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)))
    network(images()).sum().backward()
    assert (network.body.get_submodule("1").bias.grad != 0).any()
    count = images().shape[0] * 10 * 10
    assert torch.allclose(network.body.get_submodule("3").bias.grad, torch.full((4,), 1.0 * count))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.layer, self.norm = conv(3, 8), conv(8, 8), nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        return self.last(self.norm(self.layer(self.layer(x).relu())).relu())


class Features(nn.Module):
    """A linear layer and BatchNorm over more than features: it counts the places."""

    def __init__(self, places=6):
        super().__init__()
        self.conv, self.fc, self.norm = conv(3, places), nn.Linear(12, 12), nn.BatchNorm1d(places)
        self.last = nn.Linear(places * 12, 4)

    def forward(self, x):
        return self.last(self.norm(self.fc(self.conv(x).mean(3))).relu().flatten(1))


CASES = {
    "what is called twice": (Twice, {"stem": None, "layer": None, "last": "last"}),
    "places": (Features, {"conv": "conv", "fc": None, "last": "last"}),
    "as many places as features": (
        lambda: Features(12),
        {"conv": "conv", "fc": "norm", "last": "last"},
    ),
    "features": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(432, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)
        ),
        {"1": "2", "4": "4"},
    ),
    "a BatchNorm without a bias": (
        lambda: nn.Sequential(
            conv(3, 8), nn.BatchNorm2d(8, affine=False), nn.ReLU(), nn.Conv2d(8, 4, 3)
        ),
        {"0": None, "3": "3"},
    ),
    "a BatchNorm behind an activation": (
        lambda: nn.Sequential(conv(3, 8), nn.ReLU(), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3)),
        {"0": "0", "3": "3"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_who_holds_it_and_what_has_none_is_as_trained(name):
    build, expected = CASES[name]
    network = ready(build())
    assert network.holders == {layer: held for layer, held in expected.items() if held}
    assert not compare_with_training(network, lower(network), images(16, seed=3)).broken


def test_a_layer_whose_batch_norm_was_made_a_synchronised_one_is_as_trained():
    network = ready(nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)))
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(network).eval()
    assert not compare_with_training(synchronised, lower(synchronised), images(16)).broken
    multiplier, offset = affine_map(
        synchronised.body.get_submodule("0"),
        synchronised.activations()["activations.0"],
        synchronised.body.get_submodule("1"),
    )
    rescale = lower(synchronised).get_submodule("0.rescale")
    assert torch.equal(rescale.offset, offset.detach())


def test_a_channel_that_is_switched_off_keeps_its_offset():
    net = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))
    network = ready(net)
    norm = network.body.get_submodule("1")
    with torch.no_grad():
        norm.weight[:2] = torch.tensor([0.0, 1e-20])
    (layer, quantizer, held), _ = parts(network)
    (_, trained), (_, offset) = maps(network, layer, quantizer, held)
    assert torch.allclose(offset[:2], trained[:2], rtol=1e-6)
    assert network(images()).isfinite().all()


def test_how_far_8_bits_stretch_a_weight():
    weight = torch.zeros(4, 8, 3, 3)
    assert stretch(weight, Grid(2, True), Grid(4, False)) == 63
    assert stretch(weight, Grid(2, True), Grid(8, False)) == 32  # 2 · 255 · 64 fits 16 bits
    assert stretch(weight, Grid(7, True), Grid(8, True)) == 1
    assert stretch(weight, Grid(8, True), Grid(8, False)) == 1
    many = torch.zeros(1, 10_000, 50, 50, device="meta")
    assert stretch(many, Grid(2, True), Grid(4, False)) == 1  # 2³⁰ holds no more


def test_a_pair_of_bits_is_for_weights_and_inputs():
    rows = quantized(policy=Policy(2, 4, first_last=(7, 8))).table
    assert [(r.weight_bits, r.activation_bits) for r in (rows[0], rows[-1])] == [(7, 8), (7, 8)]
    assert Policy.of_config(dict(first_last=[7, 8])).weight_grid(nn.Linear(1, 1), True).bits == 7
