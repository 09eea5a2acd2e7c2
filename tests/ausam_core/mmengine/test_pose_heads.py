"""Heads of MMPose as they are: the losses of the samples are the loss that the head returns."""

from __future__ import annotations

import copy
import importlib

import pytest
import torch
from torch import nn

import ausam_core.mmengine  # noqa: F401  registers
from ausam_core import PerSampleLossRecorder

pytestmark = pytest.mark.usefixtures("pose_scope")
N, K = 3, 17
SIMCC = dict(type="SimCCLabel", input_size=(192, 256), sigma=6.0, simcc_split_ratio=2.0)
MSE = dict(type="KeypointMSELoss", use_target_weight=True)
MAPS = dict(input_size=(192, 256), heatmap_size=(48, 64), sigma=2.0)
STAGED = dict(in_channels=32, out_channels=K, num_stages=3, deconv_out_channels=None)
STAGES = [[torch.randn(N, 32, 64, 48) for _ in range(2)] for _ in range(2)]
HEADS = {
    "heatmap": (
        dict(
            type="HeatmapHead", in_channels=32, out_channels=K, deconv_out_channels=None, loss=MSE
        ),
        [torch.randn(N, 32, 64, 48)],
    ),
    "simcc": (
        dict(
            type="SimCCHead",
            in_channels=32,
            out_channels=K,
            input_size=(192, 256),
            in_featuremap_size=(6, 8),
            deconv_out_channels=None,
            loss=dict(type="KLDiscretLoss", use_target_weight=True),
            decoder=SIMCC,
        ),
        [torch.randn(N, 32, 8, 6)],
    ),
    "rtmcc": (
        dict(
            type="RTMCCHead",
            in_channels=32,
            out_channels=K,
            input_size=(192, 256),
            in_featuremap_size=(6, 8),
            loss=dict(type="KLDiscretLoss", beta=10.0, label_softmax=True),
            decoder=SIMCC,
        ),
        [torch.randn(N, 32, 8, 6)],
    ),
    "hourglass": (
        dict(type="CPMHead", **STAGED, loss=MSE),
        [torch.randn(N, 32, 64, 48) for _ in range(3)],
    ),
    "hourglass of three losses": (
        dict(type="CPMHead", **STAGED, loss=[dict(MSE, loss_weight=w) for w in (0.1, 0.2, 1.0)]),
        [torch.randn(N, 32, 64, 48) for _ in range(3)],
    ),
    "regression": (
        dict(
            type="RegressionHead",
            in_channels=32,
            num_joints=K,
            loss=dict(type="SmoothL1Loss", use_target_weight=True),
        ),
        [torch.randn(N, 32, 1, 1)],
    ),
    "rle": (
        dict(
            type="RLEHead",
            in_channels=32,
            num_joints=K,
            loss=dict(type="RLELoss", use_target_weight=True),
        ),
        [torch.randn(N, 32, 1, 1)],
    ),
    "integral": (
        dict(
            type="IntegralRegressionHead",
            in_channels=32,
            in_featuremap_size=(6, 8),
            num_joints=K,
            deconv_out_channels=None,
            loss=dict(type="SmoothL1Loss", use_target_weight=True),
        ),
        [torch.randn(N, 32, 8, 6)],
    ),
    "dsnt": (
        dict(
            type="DSNTHead",
            in_channels=32,
            in_featuremap_size=(48, 64),
            num_joints=K,
            deconv_out_channels=None,
            loss=dict(
                type="MultipleLossWrapper",
                losses=[
                    dict(type="SmoothL1Loss", use_target_weight=True),
                    dict(type="JSDiscretLoss", use_target_weight=True),
                ],
            ),
        ),
        [torch.randn(N, 32, 64, 48)],
    ),
    "mspn": (
        dict(
            type="MSPNHead",
            num_stages=2,
            num_units=2,
            out_shape=(64, 48),
            unit_channels=32,
            out_channels=K,
            level_indices=[0, 1] * 2,
            loss=[MSE] * 4,
        ),
        STAGES,
    ),
}


@pytest.fixture(scope="module")
def pose():
    importlib.import_module("tasks.pose")  # lets mmpose be imported
    importlib.import_module("mmpose.models")
    return importlib.import_module("mmpose.testing"), importlib.import_module("mmpose.registry")


@pytest.mark.filterwarnings("error:no handler")
@pytest.mark.parametrize("name", HEADS)
def test_the_head_alone_on_a_sample_gives_the_loss_of_the_sample(name, pose):
    testing, registry = pose
    config, features = HEADS[name]
    torch.manual_seed(0)
    head = registry.MODELS.build(copy.deepcopy(config))
    nn.init.normal_(next(head.parameters()), std=0.1)
    head.train()
    levels = 2 if name == "mspn" else 1
    samples = testing.get_packed_inputs(N, num_keypoints=K, num_levels=levels)["data_samples"]
    if levels > 1:  # the head wants the levels first
        for sample in samples:
            weights = sample.gt_instance_labels.keypoint_weights.transpose(0, 1)
            sample.gt_instance_labels = type(sample.gt_instance_labels)(keypoint_weights=weights)
    recorder = PerSampleLossRecorder(nn.ModuleDict(dict(head=head)))

    def run(positions: slice):
        def part(value):
            return value[positions] if isinstance(value, torch.Tensor) else list(map(part, value))

        with recorder.recording():
            total = head.loss(tuple(part(features)), samples[positions])["loss_kpt"]
        losses = recorder.losses()
        assert recorder.check(total)
        return losses

    assert run(slice(0, N)).shape == (N,)
    head.eval()  # BatchNorm would tell samples of each other
    whole = run(slice(0, N))
    torch.testing.assert_close(whole, torch.cat([run(slice(i, i + 1)) for i in range(N)]))
