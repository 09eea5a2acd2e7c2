"""The ONNX file: equal to the bit (exact), close (qdq), small, and checked by onnx itself."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from ausam_core.errors import AusamError
from tasks.qat.calibration import calibrate
from tasks.qat.convert import convert
from tasks.qat.deploy import onnx_graph
from tasks.qat.deploy.agreement import compare_with_training
from tasks.qat.deploy.engines import Session
from tasks.qat.deploy.export import to_onnx
from tasks.qat.deploy.integer import Accumulate
from tasks.qat.deploy.lower import lower
from tasks.qat.policy import Policy
from tasks.qat.quantize import quantize
from tests.tasks.qat.nets import NETS, images, quantized

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
SHAPE = (3, 12, 12)
FORMS = [("exact", "int2"), ("portable", "int8"), ("qdq", "int2"), ("qdq", "int8")]
POLICIES = [
    Policy(),
    Policy(4, 4, depthwise_bits=8),
    Policy(3, 3, first_last="same"),
    Policy(8, 8),
    Policy(granularity="tensor"),
]


@cache
def of_policy(kind, policy):
    return lower(quantized(kind, policy))


def run(model, inputs):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return torch.from_numpy(session.run(None, {"images": inputs.numpy()})[0])


@pytest.mark.parametrize("weights", ["int2", "int8"])
@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("kind", NETS)
def test_exact_equals_the_integer_network_to_the_bit(kind, policy, weights):
    deployed = of_policy(kind, policy)
    inputs = images(64, seed=5)
    found = run(to_onnx(deployed, SHAPE, "exact", weights), inputs)
    assert torch.equal(found, deployed(inputs)) and found.std() > 0.01


@pytest.mark.parametrize("weights", ["int2", "int8"])
@pytest.mark.parametrize("policy", POLICIES[:4], ids=str)
@pytest.mark.parametrize("kind", NETS)
def test_qdq_agrees_on_the_best_class(kind, policy, weights):
    deployed = of_policy(kind, policy)
    inputs = images(256, seed=5)
    found = run(to_onnx(deployed, SHAPE, "qdq", weights), inputs)
    expected = deployed(inputs)
    assert (found.argmax(1) == expected.argmax(1)).float().mean() >= 0.98
    # in 8 bits a bias is a whole unit of weights that fill the type: more codes flip, by one
    near = 0.01 if (policy.weight_bits, weights) == (8, "int8") else 1e-5
    assert ((found - expected).abs().amax(1) < near).float().mean() > 0.9


def test_a_convolution_beyond_fp32_is_summed_in_int32():
    network = quantized(policy=Policy(8, 8), width=64)
    with torch.no_grad():
        layer = network.body.get_submodule("layer2.conv2")
        layer.weight.copy_(127 * layer.step.view(-1, 1, 1, 1))
    deployed = lower(network)
    wide = [n for n, m in deployed.named_modules() if isinstance(m, Accumulate) and m.wide]
    assert wide == ["layer2.conv2.accumulate"]
    model = to_onnx(deployed, SHAPE)
    assert [n.name for n in model.graph.node if n.op_type == "ConvInteger"]
    assert torch.equal(run(model, images(8)), deployed(images(8)))


def test_a_linear_layer_beyond_fp32_is_summed_in_fp64():
    torch.manual_seed(0)
    network = convert(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(800, 10))
    ).eval()
    calibrate(network, [images()])
    with torch.no_grad():
        network.body.get_submodule("3").weight.copy_(127 * network.steps()["3"].view(-1, 1))
    deployed = lower(network)
    assert deployed.get_submodule("3.accumulate").wide
    assert torch.equal(run(to_onnx(deployed, SHAPE), images(4)), deployed(images(4)))


def test_two_bit_codes_survive_packing():
    deployed = lower(quantized())
    model = to_onnx(deployed, SHAPE)
    stored = {t.name: t for t in model.graph.initializer}
    name = "layer1.conv1.codes"
    assert stored[name].data_type == onnx.TensorProto.INT2
    codes = deployed.get_submodule("layer1.conv1.accumulate").codes.numpy()
    unpacked = onnx.numpy_helper.to_array(stored[name]).astype(np.float32)
    assert np.array_equal(unpacked, codes) and len(np.unique(codes)) == 4


@pytest.mark.parametrize(("weights", "opset"), [("int2", 25), ("int8", 21)])
@pytest.mark.parametrize("style", ["exact", "qdq"])
def test_onnx_checks_the_model_at_the_opset_that_its_types_need(style, weights, opset):
    model = to_onnx(lower(quantized()), SHAPE, style, weights, {"checkpoint": "x.pth"})
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == opset
    facts = {p.key: p.value for p in model.metadata_props}
    assert facts == {"style": style, "weights": weights, "checkpoint": "x.pth"}


class Named(nn.Module):
    """Outputs that are called as parts of the graph are, or by numbers."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.relu = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU()

    def forward(self, x):
        x = self.a(x)
        y = self.relu(x)
        return {"relu": y, "a.rescale": self.b(y) * 2, "b": y + 1, 3: x}


@pytest.mark.parametrize(("style", "weights"), FORMS)
def test_outputs_keep_their_names(style, weights):
    deployed, x = _calibrated(Named()), images(3)
    model = to_onnx(deployed, SHAPE, style, weights)
    found, expected = Session(model)(x), deployed(x)
    assert [output.name for output in model.graph.output] == ["relu", "a.rescale", "b", "3"]
    assert list(expected) == ["relu", "a.rescale", "b", 3]
    for ours, theirs in zip(found, expected.values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0 if style == "exact" else 0.01)


class Moves(nn.Module):
    """A maximum whose windows reach farther beyond the edge than a kernel; the pieces of a tensor,
    put together in another order."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 4, 1)
        self.pool = nn.MaxPool2d(2, stride=4, dilation=3, ceil_mode=True)

    def forward(self, x):
        x = self.b(self.pool(self.a(x)))
        x = torch.cat(x.split([1, 3, 2], 1), 1) + torch.cat(x.chunk(3, 1)[::-1], 1)
        return self.c(x)


@pytest.mark.parametrize(("style", "weights"), FORMS)
def test_far_padding_and_pieces_put_together_are_in_every_form(style, weights):
    deployed, x = _calibrated(Moves(), 14), images(3, 14)
    assert max(deployed.get_submodule("pool").pads) >= 2
    found = run(to_onnx(deployed, (3, 14, 14), style, weights), x)
    torch.testing.assert_close(found, deployed(x), rtol=0, atol=0 if style == "exact" else 0.01)


def _calibrated(model, size=12):
    network = quantize(model, images(2, size))
    calibrate(network, images(size=size))
    deployed = lower(network.eval())
    assert not compare_with_training(network, deployed, images(size=size)).broken
    return deployed


def test_any_number_of_images_goes_in():
    model = to_onnx(lower(quantized()), SHAPE)
    assert [len(run(model, images(n))) for n in (1, 3)] == [1, 3]


def test_an_unknown_style_is_refused():
    with pytest.raises(AusamError, match="exact, portable or qdq"):
        to_onnx(lower(quantized()), SHAPE, "fast")


class _Old:
    def __init__(self, version):
        self.__version__ = version


@pytest.mark.parametrize("name", ["onnx", "onnxruntime"])
def test_a_package_that_is_missing_or_too_old_is_said_with_what_to_do(name, monkeypatch):
    def missing(name):
        raise ImportError

    monkeypatch.setattr(onnx_graph.importlib, "import_module", missing)
    with pytest.raises(AusamError, match=rf"{name} is not installed; pip install"):
        onnx_graph.require(name, for_int2=True)
    monkeypatch.setattr(onnx_graph.importlib, "import_module", lambda name: _Old("1.17.0"))
    with pytest.raises(AusamError, match=rf"{name} 1.17.0 has no 2-bit types.*--target portable"):
        onnx_graph.require(name, for_int2=True)
    assert onnx_graph.require(name, for_int2=False).__version__ == "1.17.0"


def test_calibration_on_other_data_gives_another_file():
    """Nothing in the file is a default."""
    network = quantized()
    first = to_onnx(lower(network), SHAPE).SerializeToString()
    calibrate(network, [3 * images(seed=77)])
    assert to_onnx(lower(network), SHAPE).SerializeToString() != first
