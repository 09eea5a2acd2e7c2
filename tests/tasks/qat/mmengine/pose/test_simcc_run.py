"""A SimCC estimator from float to W4A4 to a file: one network all the way, scored alike."""

import copy

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

pytest.importorskip("mmpose")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from ausam_core.errors import AusamError
from tasks.qat.check import check_config
from tasks.qat.deploy.agreement import compare_with_training
from tasks.qat.deploy.engines import Session
from tasks.qat.deploy.export import to_onnx
from tasks.qat.deploy.lower import lower
from tasks.qat.deploy.verify import Verification
from tasks.qat.mmengine.checkpoint import data_of, load_quantized
from tasks.qat.mmengine.float_checkpoint import load_float
from tasks.qat.mmengine.pose import verify as pose_verify
from tests.tasks.qat.mmengine.pose.runs import config, float_checkpoint, quantized_run


@pytest.fixture(scope="module")
def floats(tmp_path_factory):
    return float_checkpoint(tmp_path_factory.mktemp("float"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, floats):
    return quantized_run(tmp_path_factory.mktemp("qat"), floats)


@pytest.fixture(scope="module")
def model(run):
    return load_quantized(f"{run.work_dir}/epoch_2.pth")


@pytest.fixture(scope="module")
def images(model):
    return next(data_of(model).test_batches(model))[0]


@pytest.fixture(scope="module")
def deployed(model, images):
    return lower(model.net, tuple(images.shape[1:]))


@pytest.fixture(scope="module")
def onnx_model(deployed, images):
    return to_onnx(deployed, tuple(images.shape[1:]))


def test_the_first_layer_and_both_last_ones_have_8_bits_and_the_others_4(model):
    bits = {row.name: (row.weight_bits, row.activation_bits) for row in model.net.table}
    ends = ["backbone.stem.0.conv", "head.mlp_head_x", "head.mlp_head_y"]
    assert [bits.pop(name) for name in ends] == [(8, 8)] * 3
    assert len(bits) == 17 and set(bits.values()) == {(4, 4)}


def test_ausam_trains_half_of_each_batch_every_weight_and_every_step(run, floats):
    assert run.optim_wrapper.last_result.before.shape == (8,)
    start = torch.load(floats, weights_only=True)["state_dict"]
    end = run.model.net.state_dict()
    assert all(not torch.equal(v, end[f"body.{k}"]) for k, v in start.items())
    other = MODELS.build(run.cfg.model)
    load_float(other, floats)
    steps = [name for name, _ in other.net.layers()]
    before, after = other.net.steps(), run.model.net.steps()
    assert all(not torch.equal(before[name], after[name]) for name in steps)


def test_with_quantizers_off_outputs_loss_and_joints_are_those_of_the_float_estimator(floats):
    init_default_scope("mmpose")
    cfg = config("qat/simcc_mini_w4a4_ausam", floats.parent)
    quantized = MODELS.build(cfg.model).eval()
    load_float(quantized, floats)
    quantized.net.behaviour.floats = True
    estimator = MODELS.build(config("simcc_mpii_ausam_mini", floats.parent).model).eval()
    estimator.load_state_dict(torch.load(floats, weights_only=True)["state_dict"])
    quantized.cfg = cfg
    batch = next(iter(data_of(quantized)._loader(quantized, 4)))
    found = []
    for each in (estimator, quantized):
        data = each.data_preprocessor(copy.deepcopy(batch), training=False)
        with torch.no_grad():
            outputs = each(**data, mode="tensor")
            samples = each(**data, mode="predict")
        found.append((outputs, [sample.pred_instances.keypoints for sample in samples]))
    (ours, joints), (theirs, others) = found
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert all((a == b).all() for a, b in zip(joints, others, strict=True))


def test_a_copy_of_the_model_answers_with_its_own_network(model, images):
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.net.body.head.mlp_head_x.bias += 1.0
        (ours, _), (theirs, _) = (each(images[:2], None) for each in (model, other))
    assert torch.allclose(ours + 1.0, theirs, atol=1e-5)
    assert not [name for name, _ in model.named_parameters() if not name.startswith("net.")]


def test_the_file_equals_the_integer_network_in_both_outputs(deployed, onnx_model, images):
    assert [output.name for output in onnx_model.graph.output] == ["simcc_x", "simcc_y"]
    integers, file = deployed(images), Session(onnx_model)(images)
    assert list(integers) == ["simcc_x", "simcc_y"]
    assert integers["simcc_x"].shape == (12, 16, 128)
    assert all(torch.equal(a, b) for a, b in zip(integers.values(), file, strict=True))


def test_the_integer_network_is_the_training_graph_but_for_ties(model, deployed, images):
    assert compare_with_training(model.net, deployed, images).broken == []


def test_pckh_of_training_graph_and_file_is_that_of_the_run_and_the_float_one_stands_beside(
    run, model, onnx_model, floats
):
    found = Verification("exact", None, [])
    pose_verify.add_pckh(found, model, onnx_model)
    assert list(found.accuracy) == ["float network", "training graph", "ONNX file"]
    logged = run.message_hub.get_scalar("val/PCK").current()
    assert found.accuracy["training graph"] == pytest.approx(logged)
    assert abs(found.accuracy["ONNX file"] - logged) <= pose_verify.BOUND == 0.5
    assert found.broken == []


def test_a_float_checkpoint_that_is_gone_is_left_out(model, onnx_model):
    there = model.cfg.model.float_checkpoint
    model.cfg.model.float_checkpoint = "gone.pth"
    found = Verification("exact", None, [])
    pose_verify.add_pckh(found, model, onnx_model, images=4)
    model.cfg.model.float_checkpoint = there
    assert list(found.accuracy) == ["training graph", "ONNX file"]


def test_a_file_whose_pckh_is_another_breaks_the_promise(model, onnx_model, monkeypatch):
    scores = {"training graph": 70.0, "ONNX file": 69.4}
    monkeypatch.setattr(pose_verify, "pckh", lambda *_: scores)
    found = Verification("exact", None, [])
    pose_verify.add_pckh(found, model, onnx_model)
    assert found.broken == [
        "PCKh of the file is 0.60 points from that of the training graph, more than 0.5"
    ]


def test_another_head_is_refused_by_name(tmp_path):
    init_default_scope("mmpose")
    cfg = config("qat/simcc_mini_w4a4_ausam", tmp_path)
    cfg.model.head = dict(
        type="HeatmapHead",
        in_channels=96,
        out_channels=16,
        deconv_out_channels=None,
        loss=dict(type="KeypointMSELoss"),
    )
    with pytest.raises(AusamError, match="must be a SimCCHead, found HeatmapHead"):
        MODELS.build(cfg.model)


def test_a_missing_float_checkpoint_names_the_pose_config_that_trains_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # here no run has left one
    cfg = config("qat/simcc_mini_w4a4_ausam", tmp_path)
    with pytest.raises(AusamError, match=r"tools/train.py configs/simcc_mpii_ausam_mini.py"):
        check_config(cfg)
