"""Conversion decides by the graph: ends, shared tensors, depthwise, signs; the golden tables."""

import copy
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ausam_core.errors import AusamError
from tasks.qat.calibration import calibrate
from tasks.qat.convert import convert
from tasks.qat.layers import ActivationQuantizer
from tasks.qat.policy import Policy, format_table
from tests.tasks.qat.nets import NETS, Residual, build, images, quantized

GOLDEN = json.loads((Path(__file__).parent / "golden_tables.json").read_text())


@pytest.mark.parametrize("kind", NETS)
def test_the_table_of_layers_is_the_golden_one(kind):
    assert [row.to_dict() for row in convert(build(kind)).table] == GOLDEN[kind]


@pytest.mark.parametrize("kind", NETS)
def test_the_printed_table_names_every_layer_with_its_bits(kind):
    table = convert(build(kind)).table
    lines = format_table(table).splitlines()
    assert len(lines) == len(table) + 1
    for row, line in zip(table, lines[1:], strict=True):
        assert line.split()[0] == row.name and f"s{row.weight_bits}" in line.split()


def test_shortcut_and_first_convolution_of_a_block_share_one_quantizer():
    rows = {row.name: row for row in convert(build()).table}
    assert rows["layer2.shortcut.0"].activation == rows["layer2.conv1"].activation
    used = [row.activation for row in rows.values()]
    assert len(set(used)) == len(used) - 1


def test_the_identity_of_a_residual_block_is_not_quantized():
    network = quantized()
    seen = {}
    for name in ("layer1.conv1", "layer1.bn2"):
        module = network.body.get_submodule(name)
        module.register_forward_hook(lambda m, a, o, name=name: seen.update({name: (a[0], o)}))
    network.body.bn1.register_forward_hook(lambda m, a, o: seen.update(stem=F.relu(o)))
    total = []
    network.body.layer2.conv1.register_forward_pre_hook(lambda m, a: None)
    quantizer = network.activations()["activations.layer2_conv1"]
    quantizer.register_forward_pre_hook(lambda m, a: total.append(a[0]))
    network(images())
    expected = F.relu(seen["layer1.bn2"][1] + seen["stem"])
    assert torch.equal(total[0], expected)
    assert not torch.equal(seen["layer1.conv1"][0], seen["stem"])  # the same tensor, quantized


@pytest.mark.parametrize("kind", NETS)
def test_a_converted_network_in_float_mode_is_the_float_network(kind):
    float_network = build(kind)
    network = convert(copy.deepcopy(float_network)).eval()
    network.behaviour.floats = True
    assert torch.equal(network(images()), float_network(images()))


def test_eight_bits_everywhere_stay_close_to_the_float_network():
    float_network = build()
    expected = float_network(images()).detach()
    errors = []
    for bits in (8, 4):
        network = convert(copy.deepcopy(float_network), Policy(bits, bits))
        calibrate(network, [images(seed=200 + i) for i in range(4)])
        found = network.eval()(images()).detach()
        errors.append(float((found - expected).norm() / expected.norm()))
    assert errors[0] < 0.03 < errors[1]


@pytest.mark.parametrize(
    ("policy", "bits"),
    [
        (Policy(), [8, 2, 2, 2, 2, 8]),
        (Policy(depthwise_bits=8), [8, 8, 2, 8, 2, 8]),
        (Policy(3, 5, first_last="same"), [3] * 6),
        (Policy(first_last="fp"), [2, 2, 2, 2]),
    ],
)
def test_the_policy_decides_the_bits_of_weights(policy, bits):
    assert [row.weight_bits for row in convert(build("depthwise"), policy).table] == bits


def test_one_step_a_tensor_is_lsq_as_published():
    network = convert(build(), Policy(granularity="tensor"))
    assert all(layer.step.shape == () for _, layer in network.layers())
    calibrate(network, [images()])
    assert network(images()).isfinite().all()


def test_the_input_image_is_signed_and_what_follows_a_relu_is_not():
    rows = convert(build()).table
    assert rows[0].signed and not any(row.signed for row in rows[1:])


def test_steps_have_their_shapes_after_loading_a_state():
    network, other = quantized(), convert(build(seed=5))
    other.load_state_dict(network.state_dict())
    assert all(layer.step.shape == (len(layer.weight),) for _, layer in other.layers())
    assert torch.equal(other.eval()(images()), network(images()))


def test_a_copy_shares_its_behaviour_with_its_own_quantizers_alone():
    network = quantized()
    other = copy.deepcopy(network)
    quantizers = list(other.activations().values())
    assert quantizers and all(q.behaviour is other.behaviour for q in quantizers)
    assert other.behaviour is not network.behaviour
    assert torch.equal(other(images()), network(images()))


def test_every_tensor_that_enters_a_layer_holds_few_values():
    network, found = quantized(), {}
    for name, layer in network.layers():
        layer.register_forward_pre_hook(lambda m, a, n=name: found.update({n: a[0].unique()}))
    network(images())
    assert len(found) == len(network.table)
    for row in network.table:
        assert 1 < len(found[row.name]) <= 2**row.activation_bits


class Upsamples(Residual):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 3, 3)

    def forward(self, x):
        return super().forward(self.up(x))


class Reflects(Residual):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect")


class Block(nn.Conv2d):
    """A convolution with its own BatchNorm and activation, as in Detectron2."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 3, padding=1)
        self.norm, self.act = nn.BatchNorm2d(outputs), nn.ReLU()

    def forward(self, x):
        x = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return self.act(self.norm(x))


class Activated(nn.Linear):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(super().forward(x))


def test_a_layer_keeps_the_modules_that_it_holds():
    torch.manual_seed(0)
    model = nn.Sequential(Block(3, 4), nn.Flatten(), Activated(576, 8), nn.Linear(8, 2)).eval()
    network = convert(model).eval()
    network.behaviour.floats = True
    assert torch.equal(network(images()), model(images()))
    names = {name.removeprefix("body.") for name in network.state_dict()}
    assert names >= model.state_dict().keys()


class Branches(Residual):
    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Upsamples(), r"layer up \(ConvTranspose2d\)"),
        (Reflects(), "layer conv1 pads with reflect"),
        (Branches(), "cannot be traced"),
        (nn.Sequential(nn.ReLU()), "no convolution"),
        (nn.Sequential(nn.Conv1d(3, 8, 3)), r"layer 0 \(Conv1d\).*take a Conv2d over"),
        (nn.Sequential(nn.ConvTranspose2d(3, 8, 3)), r"\(ConvTranspose2d\).*take nearest"),
    ],
)
def test_what_cannot_be_quantized_is_named(network, said):
    with pytest.raises(AusamError, match=said):
        convert(network)


@pytest.mark.parametrize(
    "settings",
    [
        dict(weight_bits=1),
        dict(activation_bits=9),
        dict(first_last=16),
        dict(first_last="float"),
        dict(first_last=(7,)),
        dict(first_last=(7, 8, 8)),
        dict(first_last=(7, 9)),
        dict(depthwise_bits=0),
        dict(granularity="row"),
    ],
)
def test_a_policy_out_of_range_is_refused(settings):
    with pytest.raises(AusamError):
        Policy(**settings)


def test_calibration_changes_steps_alone():
    network = convert(build())
    before = {k: v.clone() for k, v in network.state_dict().items()}
    network.train()
    calibrate(network, [images()])
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {k for k in before if k.startswith("body.activations.")} and changed
    assert network.training and not network.behaviour.floats


@pytest.mark.parametrize(
    ("batches", "said"), [([], "no batch"), ([torch.full((2, 3, 12, 12), torch.nan)], "not finite")]
)
def test_calibration_refuses_what_it_cannot_learn_from(batches, said):
    with pytest.raises(AusamError, match=said):
        calibrate(convert(build()), batches)


def test_steps_that_cannot_be_used_are_named():
    with pytest.raises(AusamError, match="activations.conv1 is 0: the network was never calibr"):
        convert(build()).check_steps()
    network = quantized()
    network.check_steps()
    for value in (0.0, -1.0, torch.nan, torch.inf):
        broken = copy.deepcopy(network)
        broken.get_parameter("body.layer1.conv2.step").data[3] = value
        with pytest.raises(AusamError, match="step of layer1.conv2 became"):
            broken.check_steps()


def test_only_quantizers_that_are_used_are_there():
    network = convert(build())
    modules = [m for m in network.modules() if isinstance(m, ActivationQuantizer)]
    assert {row.activation for row in network.table} == set(network.activations())
    assert len(modules) == len(network.activations())
