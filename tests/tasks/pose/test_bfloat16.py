"""Every family of heads trains, predicts and is evaluated in bfloat16."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from tasks.pose import bfloat16

pytestmark = pytest.mark.usefixtures("pose_scope")
CONFIGS = Path(__file__).parents[3] / "configs"
CODEC = dict(input_size=(32, 32), sigma=2.0)
SIMCC = dict(type="SimCCLabel", simcc_split_ratio=2.0, **CODEC)
# type: settings of the head, its decoder
HEADS = {
    "SimCCHead": (dict(input_size=(32, 32), in_featuremap_size=(8, 8)), SIMCC),
    "HeatmapHead": ({}, dict(type="MSRAHeatmap", heatmap_size=(8, 8), **CODEC)),
    "RegressionHead": ({}, dict(type="RegressionLabel", input_size=(32, 32))),
    "RLEHead": ({}, dict(type="RegressionLabel", input_size=(32, 32))),
}


def head_and_batch(kind: str):
    """A small head with the features and the targets of two persons, four joints each."""
    import mmpose.models  # noqa: F401
    from mmengine.structures import InstanceData, PixelData
    from mmpose.registry import KEYPOINT_CODECS, MODELS
    from mmpose.structures import PoseDataSample

    settings, codec = HEADS[kind]
    joints = "num_joints" if kind in ("RegressionHead", "RLEHead") else "out_channels"
    if kind in ("SimCCHead", "HeatmapHead"):
        settings = dict(deconv_out_channels=None, **settings)
    head = MODELS.build(dict(type=kind, in_channels=8, decoder=codec, **{joints: 4}, **settings))
    rng, samples = np.random.default_rng(0), []
    for _ in range(2):
        keypoints = rng.uniform(4, 28, (1, 4, 2)).astype(np.float32)
        labels = KEYPOINT_CODECS.build(codec).encode(keypoints, np.ones((1, 4), np.float32))
        sample = PoseDataSample(metainfo=dict(flip_indices=[0, 1, 2, 3], input_size=(32, 32)))
        if "heatmaps" in labels:
            sample.gt_fields = PixelData(heatmaps=torch.from_numpy(labels.pop("heatmaps")))
        sample.gt_instance_labels = InstanceData(
            **{name: torch.from_numpy(value) for name, value in labels.items()}
        )
        samples.append(sample)
    side = 1 if "num_joints" in joints else 8
    features = torch.from_numpy(rng.normal(size=(2, 8, side, side)).astype(np.float32))
    return head, (features,), samples


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        *[(kind, torch.float32) for kind in HEADS],  # under autocast
        # The flow of RLE holds constants in float32, so its weights cannot be anything else.
        *[(kind, torch.bfloat16) for kind in HEADS if kind != "RLEHead"],
    ],
)
def test_heads_learn_and_predict_in_bfloat16(kind, weights):
    head, features, samples = head_and_batch(kind)
    head = head.to(weights)
    features = tuple(f.to(weights) for f in features)
    with torch.autocast("cpu", torch.bfloat16, enabled=weights == torch.float32):
        losses = head.loss(features, samples)
        answers = head.predict(features, samples)
    assert losses["loss_kpt"].isfinite() and "acc_pose" in losses
    assert all(answer.keypoints.shape == (1, 4, 2) for answer in answers)
    assert np.isfinite(answers[0].keypoints).all()


def test_other_types_go_through_untouched():
    from mmpose.utils.tensor_utils import to_numpy

    x = torch.arange(6.0, dtype=torch.float64).reshape(2, 3)
    assert np.shares_memory(to_numpy(x), x.numpy())
    arrays, device = to_numpy((x, x.bfloat16()), return_device=True)
    assert (arrays[0].dtype, arrays[1].dtype, str(device)) == (np.float64, np.float32, "cpu")
    np.testing.assert_array_equal(arrays[0], arrays[1])
    assert to_numpy([x.bfloat16()] * 2, unzip=True)[0][0].shape == (1, 3)


def test_installing_twice_wraps_once():
    from mmpose.utils import tensor_utils

    before = tensor_utils.to_numpy
    bfloat16.install()
    assert tensor_utils.to_numpy is before


@pytest.mark.parametrize("name", ["ausam_mini", "sam_mini"])
def test_a_run_in_mixed_precision_trains_and_is_evaluated_on_the_cpu(tmp_path, name):
    """Evaluation too is in bf16: ``fp16`` of MMEngine's loop means autocast's type."""
    cfg = Config.fromfile(CONFIGS / f"simcc_mpii_{name}.py")
    cfg.work_dir = str(tmp_path)
    cfg.optim_wrapper.type = "SAMAmpOptimWrapper"
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=1)
    cfg.val_cfg = dict(fp16=True)
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    cfg.param_scheduler = []
    for loader, count in ((cfg.train_dataloader, 32), (cfg.val_dataloader, 10)):
        loader.update(batch_size=8, num_workers=0, persistent_workers=False)
        loader.dataset.indices = count
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runner = Runner.from_cfg(cfg)
        before = {name: p.clone() for name, p in runner.model.named_parameters()}
        runner.train()
    assert any(not torch.equal(p, before[name]) for name, p in runner.model.named_parameters())
    assert all(p.isfinite().all() for p in runner.model.parameters())
    assert 0 <= runner.message_hub.get_scalar("val/PCK").current() <= 100
