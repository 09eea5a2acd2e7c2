"""The qdq file in 8 bits: ONNX Runtime computes it in integers, and codes are those trained."""

import collections

import pytest
import torch
from torch import nn

from tasks.qat.calibration import calibrate
from tasks.qat.convert import convert
from tasks.qat.deploy.export import to_onnx, with_inner_names
from tasks.qat.deploy.integer import Accumulate, Rescale
from tasks.qat.deploy.lower import lower
from tasks.qat.deploy.qcdq import integers
from tasks.qat.deploy.verify import compare_codes
from tasks.qat.grid import Grid
from tasks.qat.policy import Policy
from tests.tasks.qat.nets import build, images, quantized

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
SHAPE = (3, 12, 12)


def relu6(kind):
    """The float network with ReLU6, whose border lies within the grid."""
    net = build(kind)
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.ReLU):
            net.set_submodule(name, nn.Hardtanh(0.0, 0.8))
    return net


class Below(nn.Module):
    def forward(self, x):
        return x.clamp(max=-1.0)


def network(kind, policy):
    if kind != "relu6":
        return quantized(kind, policy)
    found = convert(relu6("depthwise"), policy)
    calibrate(found, [images(seed=200)])
    return found.eval()


def optimised(model, tmp_path):
    """How many operators of each kind ONNX Runtime runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3  # that such a file depends on the machine is known
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    graph = onnx.load(options.optimized_model_filepath).graph
    return collections.Counter(node.op_type for node in graph.node)


@pytest.mark.parametrize(
    ("kind", "integer", "real"), [("residual", 2, 4), ("depthwise", 4, 1), ("relu6", 4, 1)]
)
def test_each_convolution_whose_result_is_quantized_runs_on_integers(kind, integer, real, tmp_path):
    model = to_onnx(lower(network(kind, Policy())), SHAPE, "qdq", "int8")
    found = optimised(model, tmp_path)
    assert found["QLinearConv"] == integer
    assert found["Conv"] + found["FusedConv"] == real
    assert not {"Mul", "Cast", "Relu"} & found.keys()


@pytest.mark.parametrize("bits", [4, 8])
def test_with_sums_of_codes_no_convolution_and_no_sum_is_left_in_floats(bits, tmp_path):
    model = to_onnx(lower(quantized(policy=Policy(2, bits, sum_bits=8))), SHAPE, "qdq", "int8")
    found = optimised(model, tmp_path)
    assert found["QLinearConv"] == 6 and found["QLinearAdd"] == 2
    assert not {"Conv", "FusedConv", "Add", "Mul", "Relu"} & found.keys()


@pytest.mark.parametrize(("first_last", "expected"), [(8, {"conv1.codes"}), ((7, 8), set())])
def test_beside_8_bit_inputs_weights_lie_in_int8_unless_they_have_8_bits_too(first_last, expected):
    """Kernels are faster for it, and those without VNNI saturate beyond 64."""
    policy = Policy(2, 8, first_last=first_last, sum_bits=8)
    model = to_onnx(lower(quantized(policy=policy)), SHAPE, "qdq", "int8")
    kinds = {t.name: t.data_type for t in model.graph.initializer if t.name.endswith(".codes")}
    uint8 = {name for name, kind in kinds.items() if kind == onnx.TensorProto.UINT8}
    assert uint8 == expected and len(kinds) == 7


@pytest.mark.parametrize(
    ("kind", "policy", "ties"),
    [
        ("residual", Policy(), 0),
        ("residual", Policy(2, 8), 0),
        ("residual", Policy(8, 8), 2),
        ("residual", Policy(sum_bits=8), 0),
        ("residual", Policy(2, 8, sum_bits=8, first_last=(7, 8)), 0),
        ("residual", Policy(8, 8, sum_bits=8), 0),
        ("depthwise", Policy(first_last="same"), 0),
        ("relu6", Policy(3, 3, first_last="same"), 0),
        ("depthwise", Policy(4, 4, first_last="same"), 0),
        ("depthwise", Policy(8, 8), 0),
    ],
)
def test_no_code_flips_but_for_ties(kind, policy, ties):
    """What is computed in integers is exact; where it is fp32, a tie may go to the other side."""
    deployed = lower(network(kind, policy))
    model, inner = with_inner_names(deployed, SHAPE, "qdq", "int8")
    x = images(64, seed=5)
    found, _ = compare_codes(deployed, model, inner, x, x)
    assert sum(differ for differ, of in found.values()) <= ties


def test_clips_that_leave_a_single_code_are_applied_in_their_order():
    net = convert(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), Below(), nn.Conv2d(4, 4, 1)))
    calibrate(net, [images()])
    deployed = lower(net.eval())
    model, inner = with_inner_names(deployed, SHAPE, "qdq", "int8")
    x = images(4)
    (name,) = (name for name in inner if name != "activations.0")
    assert deployed.get_submodule(name).grid.signed
    found, apart = compare_codes(deployed, model, inner, x, x)
    assert found[name][0] == 0 and apart == 0


@pytest.mark.parametrize(("code", "gain"), [(127, 1.0), (-128, -1.0)])
def test_sums_in_8_bits_do_not_saturate(code, gain):
    """The largest codes everywhere, where x86 without VNNI is cut off at 32767; and the code that
    int8 does not have with the other sign."""
    first, norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
    nn.init.constant_(norm.weight, gain)
    net = convert(nn.Sequential(first, norm, nn.ReLU(), nn.Conv2d(4, 4, 1)), Policy(8, 8)).eval()
    calibrate(net, [images().abs()])
    step = net.steps()["0"]
    with torch.no_grad():
        net.body.get_submodule("0").weight.copy_(code * step.view(-1, 1, 1, 1))
        net.activations()["activations.3"].step.fill_(float(step.max()) * 400)
    deployed = lower(net)
    model, inner = with_inner_names(deployed, SHAPE, "qdq", "int8")
    x = 10 * images(4).abs()
    found, apart = compare_codes(deployed, model, inner, x, x)
    differ, total = found["activations.3"]
    assert apart <= 1 and differ < 0.01 * total
    assert deployed.get_submodule("0.accumulate").codes.unique().tolist() == [code]


@pytest.mark.parametrize(
    ("multiplier", "offset"),
    [([0.013, -0.0071], [0.2, 0.3]), ([1e-12, 0.0], [0.4, -0.7]), ([0.01, 0.02], [0.0, 100.0])],
)
def test_integers_are_the_affine_map_of_the_sums(multiplier, offset):
    codes = torch.tensor([[-2.0, 1.0, 1.0, 0.0], [1.0, 1.0, -1.0, -2.0]])
    module = Accumulate(codes, Grid(2, True), Grid(4, False), None)
    affine = Rescale(torch.tensor(multiplier), torch.tensor(offset), behind_sums=True, axis=-1)
    codes, bias, unit = integers(module, affine)
    assert codes.abs().max() <= 127 and (unit > 0).all() and bias.abs().max() <= 2**30
    inputs = torch.randint(16, (500, 4), generator=torch.Generator().manual_seed(0))
    expected = affine(module(inputs.float()))
    found = unit * (inputs.double() @ codes.T + bias)
    assert ((found - expected).abs() <= 0.5001 * unit + 1e-9).all()
