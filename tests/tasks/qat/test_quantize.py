"""The few calls from a float network to a file, and what a user of PyTorch expects of a module."""

import copy
import pickle
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ausam_core.errors import AusamError
from tasks.qat import Policy, calibrate, convert, export, quantize
from tasks.qat.deploy.agreement import compare_with_training
from tasks.qat.deploy.lower import lower
from tests.tasks.qat.cases import between
from tests.tasks.qat.nets import CLASSES, build, images

LABELS = torch.arange(16) % CLASSES


def ready(policy=None):
    network = quantize(build(), images(), policy)
    calibrate(network, [(images(seed=i), LABELS) for i in range(3)])
    return network


def train(network, updates=3, lr=1e-3):
    optimizer = torch.optim.Adam(network.parameters(), lr)
    network.train()
    for i in range(updates):
        F.cross_entropy(network(images(seed=i)), LABELS).backward()
        optimizer.step()
        optimizer.zero_grad()
    return network.eval()


def test_from_floats_to_a_file_in_plain_pytorch(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    network = train(ready())
    path = export(network, (images(), LABELS), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images().numpy()})
    assert torch.equal(torch.from_numpy(found), lower(network)(images()))


def test_training_the_quantized_network_leaves_the_float_one():
    model = build()
    before, expected = copy.deepcopy(model.state_dict()), model(images())
    network = quantize(model, images())
    calibrate(network, [images()])
    train(network)
    assert torch.equal(model(images()), expected)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not torch.equal(network.body.fc.weight, model.fc.weight)


def test_a_copy_is_a_network_of_its_own():
    network = ready()
    other = train(copy.deepcopy(network))
    assert not torch.equal(other(images()), network.eval()(images()))
    network.load_state_dict(other.state_dict())
    assert torch.equal(other(images()), network(images()))
    assert torch.equal(pickle.loads(pickle.dumps(network))(images()), network(images()))


@pytest.mark.parametrize("training", [False, True])
def test_it_compiles_into_one_graph(training):
    network = ready().train(training)
    with torch.set_grad_enabled(training):
        compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
        assert torch.equal(compiled(images()), network(images()))


def test_it_is_exported_with_any_number_of_images():
    network, many = ready().eval(), torch.export.Dim("many", min=2)
    program = torch.export.export(network, (images(),), dynamic_shapes=({0: many},))
    assert torch.equal(program.module()(images()[:3]), network(images()[:3]))


def test_an_average_of_weights_and_steps_is_a_network():
    network = ready()
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    network.train()
    for i in range(8):
        F.cross_entropy(network(images(seed=i)), LABELS).backward()
        optimizer.step()
        optimizer.zero_grad()
        average.update_parameters(network)
    average.module.check_steps()
    steps = zip(average.module.steps().values(), network.steps().values(), strict=True)
    assert all(not torch.equal(a, b) for a, b in steps)
    found = compare_with_training(average.module, lower(average.module), images())
    assert not found.broken


def test_in_bf16_it_trains_and_has_an_integer_form():
    network = ready().bfloat16().train()
    optimizer = torch.optim.SGD(network.parameters(), 1e-2)
    before = network.body.layer1.conv1.weight.detach().clone()
    F.cross_entropy(network(images().bfloat16()).float(), LABELS).backward()
    optimizer.step()
    assert not torch.equal(network.body.layer1.conv1.weight, before)
    network.eval()
    assert not compare_with_training(network, lower(network), images()).broken


def test_in_fp64_it_runs():
    network = quantize(build().double(), images().double())
    calibrate(network, [images().double()])
    assert network(images().double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (torch.zeros(2, 3, 12, 12, dtype=torch.uint8), "Tensor of torch.uint8"),
        (["a.jpg"], "found list"),
        ((), "found tuple"),
        (dict(labels=torch.zeros(3, dtype=torch.long)), "found dict of torch.int64"),
    ],
)
def test_a_batch_without_images_is_refused(batch, said):
    with pytest.raises(AusamError, match=said):
        calibrate(ready(), [batch])


def test_calibration_takes_no_more_batches_than_it_needs():
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield images(), LABELS

    calibrate(ready(), endless(), batches=2)
    assert len(taken) == 2


def test_the_state_of_other_bits_is_refused_and_its_weights_can_be_taken():
    four = train(ready(Policy(4, 4)))
    two = ready()
    said = r"layer1.conv1 is W4A4 in it and W2A4 here \(5 of 7 roundings differ\)"
    with pytest.raises(AusamError, match=said):
        two.load_state_dict(four.state_dict())


def test_a_state_that_differs_in_a_sign_or_in_its_layers_is_told():
    network, state = ready(), ready().state_dict()
    state["grids"] = state["grids"].clone()
    state["grids"][1, 2] = 1
    said = "layer1.conv1 is W2A4 with a signed input in it and W2A4 with an unsigned input here"
    with pytest.raises(AusamError, match=said):
        network.load_state_dict(state)
    state["grids"] = state["grids"][:3]
    with pytest.raises(AusamError, match="it has 3 calls of layers, and this one 7"):
        network.load_state_dict(state)


def test_a_state_of_before_the_bits_went_with_it_still_loads():
    network, state = ready(), train(ready()).state_dict()
    del state["grids"]
    network.load_state_dict(state)


def test_nor_need_it_hold_those_of_functions():
    nets = [convert(between(lambda net, x: F.silu(x))()) for _ in range(2)]
    state = nets[0].state_dict()
    state["grids"] = state["grids"][:3]
    nets[1].load_state_dict(state)
    assert len(nets[0].grids) == 4


@cache
def calibrated():
    return ready()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(example=images(0)), "a batch of images is empty"),
        (dict(example=torch.full((2, 3, 12, 12), torch.nan)), "a batch of images is not finite"),
        (dict(path="nowhere/model.onnx"), r"the folder .*nowhere is not there; make it first"),
        (dict(path="."), "is a folder; name a file"),
        (dict(metadata={"epoch": 1}), r"metadata is text by name, found 'epoch': 1; take str"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence_and_no_file(tmp_path, change, said):
    settings = {"example": images(), "path": "model.onnx", **change}
    settings["path"] = tmp_path / settings["path"]
    with pytest.raises(AusamError, match=said):
        export(calibrated(), **settings)
    assert not list(tmp_path.iterdir())


def test_export_refuses_an_integer_network_that_is_not_what_was_trained(tmp_path, monkeypatch):
    network = train(ready())
    from tasks.qat.deploy import rules

    def broken(low, node, input, **rest):
        return low.tensor(input)  # forgets to clip

    monkeypatch.setitem(rules.RULES, "relu", broken)
    with pytest.raises(AusamError, match=r"does not compute what was trained: .* are no ties"):
        export(network, images(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_policy_may_be_given_by_its_settings():
    network = torch.nn.Sequential(*(torch.nn.Conv2d(3, 3, 1) for _ in range(3)))
    bits = [row.weight_bits for row in quantize(network, images(2), dict(weight_bits=4)).table]
    assert bits == [8, 4, 8]
    with pytest.raises(AusamError, match="the policy has no setting weigth_bits, found"):
        quantize(network, images(2), dict(weigth_bits=4))
