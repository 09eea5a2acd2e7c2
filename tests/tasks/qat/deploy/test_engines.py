"""Each file in the engine that it is meant for, however that is set up."""

import sys

import numpy as np
import pytest
import torch

from ausam_core.errors import AusamError
from tasks.qat.deploy.engines import TARGETS, Session, form_of
from tasks.qat.deploy.export import to_onnx
from tasks.qat.deploy.lower import lower
from tasks.qat.deploy.verify import verify
from tasks.qat.policy import Policy
from tests.tasks.qat.cases import SMALL
from tests.tasks.qat.nets import images, quantized
from tests.tasks.qat.test_networks import inputs, trained

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
SHAPE = (3, 12, 12)
LEVELS = ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"]


@pytest.fixture(scope="module", params=["depthwise", "residual"])
def network(request):
    return quantized(request.param, Policy(sum_bits=8))


@pytest.fixture(scope="module")
def deployed(network):
    return lower(network)


@pytest.mark.parametrize("weights", ["int2", "int8"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("level", LEVELS)
def test_exact_is_equal_to_the_bit_however_it_is_optimised(deployed, level, threads, weights):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    data = to_onnx(deployed, SHAPE, "exact", weights).SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    for count in (1, 3, 128):
        (found,) = session.run(None, {"images": images(count).numpy()})
        assert torch.equal(torch.from_numpy(found), deployed(images(count)))


def test_exact_is_equal_to_the_bit_in_the_reference_of_onnx(deployed):
    from onnx.reference import ReferenceEvaluator

    model = to_onnx(deployed, SHAPE, "exact", "int8")
    (found,) = ReferenceEvaluator(model).run(None, {"images": images(2).numpy()})
    assert np.array_equal(found, deployed(images(2)).numpy())


COMMON = {"Cast", "Div", "Round", "Clip", "Conv", "Mul", "Add", "Relu", "MaxPool", "Gather"}
COMMON |= {"Transpose", "MatMul", "Flatten", "Sub", "Concat", "Slice", "Reshape", "Pad", "Split"}


@pytest.mark.parametrize("name", ["functions", "average", "slices", "two heads", "a layer twice"])
def test_a_portable_file_has_common_types_and_operators_and_the_same_codes(name):
    network = trained(SMALL[name], 12)
    deployed = lower(network)
    model = to_onnx(deployed, SHAPE, "portable", "int8")
    assert model.opset_import[0].version <= 21
    types = {tensor.data_type for tensor in model.graph.initializer}
    assert types <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT8, onnx.TensorProto.INT64}
    assert {node.op_type for node in model.graph.node} <= COMMON
    x = inputs(8, 12)
    facts = {"style": "portable", "weights": "int8"}
    labels = torch.zeros(8, dtype=torch.long)
    found = verify(network, model, facts, [(x, labels, x)])
    assert not found.broken and found.apart <= 1


def test_targets_are_forms_that_their_engines_read(network):
    for target in TARGETS:
        form = form_of(target)
        to_onnx(lower(network), SHAPE, form.style, form.weights)
    assert form_of("openvino", style="qdq").style == "qdq"
    with pytest.raises(AusamError, match="no target 'tensorrt'; there are onnxruntime, openvino"):
        form_of("tensorrt")
    with pytest.raises(AusamError, match="no engine 'tensorrt'"):
        Session(None, engine="tensorrt")


def test_an_engine_that_is_missing_is_named(deployed, monkeypatch):
    model = to_onnx(deployed, SHAPE, "portable", "int8")
    monkeypatch.setitem(sys.modules, "openvino", None)  # as where it is not installed
    with pytest.raises(AusamError, match="openvino is not installed; pip install openvino"):
        Session(model, engine="openvino")


@pytest.mark.parametrize("sum_bits", [None, 8])
@pytest.mark.parametrize("name", ["functions", "average", "slices", "two heads", "a layer twice"])
def test_in_openvino_the_file_for_it_keeps_its_promises(name, sum_bits):
    pytest.importorskip("openvino")
    network = trained(SMALL[name], 12, Policy(sum_bits=sum_bits))
    form = form_of("openvino")
    model = to_onnx(lower(network), SHAPE, form.style, form.weights)
    x, labels = inputs(8, 12), torch.zeros(8, dtype=torch.long)
    facts = {"style": form.style, "weights": form.weights}
    found = verify(network, model, facts, [(x, labels, x)], engine="openvino")
    assert not found.broken and found.largest < 1e-5
