"""The head that begins as marginals: what its first weights do to a map, and that it learns."""

import pytest
import torch
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample

from tasks.pose import MarginalSimCCHead
from tasks.pose.marginal_head import stretch


def head(width: int = 8, height: int = 6, joints: int = 3) -> MarginalSimCCHead:
    head = MarginalSimCCHead(
        in_channels=5,
        out_channels=joints,
        hidden_channels=4,
        input_size=(width * 8, height * 8),
        in_featuremap_size=(width, height),
        loss=dict(type="KLDiscretLoss", use_target_weight=True),
        init_cfg=[dict(type="Normal", layer="Conv2d", std=0.05)],
    )
    head.init_weights()
    return head


@pytest.mark.parametrize("column, row", [(0, 0), (7, 5), (3, 2)])
def test_a_peak_of_the_map_is_a_peak_of_both_layers_at_its_place(column, row):
    net = head()
    peak = torch.zeros(1, 3, 6, 8)
    peak[..., row, column] = 1
    net.final_layer = torch.nn.Identity()
    with torch.no_grad():
        x, y = net((peak,))
    assert x.shape == (1, 3, 128) and y.shape == (1, 3, 96)
    # Cells of 8 pixels, two bins each: 16 bins a cell, the peak about its middle.
    assert torch.allclose(_center(x), torch.tensor(16.0 * column + 7.5), atol=4)
    assert torch.allclose(_center(y), torch.tensor(16.0 * row + 7.5), atol=4)


def _center(values: torch.Tensor) -> torch.Tensor:
    """Mean bin of the highest ones."""
    at_peak = (values == values.max(dim=-1, keepdim=True).values).float()
    return (at_peak * torch.arange(values.shape[-1])).sum(-1) / at_peak.sum(-1)


def test_moving_the_map_by_a_cell_moves_the_bins_by_as_much():
    net = head()
    net.final_layer = torch.nn.Identity()
    features = torch.zeros(2, 3, 6, 8)
    features[..., 1:-2, 2:-3] = torch.randn(2, 3, 3, 3)
    with torch.no_grad():
        (x, y), (moved_x, moved_y) = net((features,)), net((features.roll((1, 1), (2, 3)),))
    torch.testing.assert_close(moved_x, x.roll(16, -1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(moved_y, y.roll(16, -1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bins, cells", [(256, 16), (96, 6), (7, 3), (4, 4), (5, 1)])
def test_each_bin_is_a_mean_of_the_cells_beside_it(bins, cells):
    weights = stretch(bins, cells)
    assert weights.shape == (bins, cells) and (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(bins))
    assert ((weights > 0).sum(1) <= 2).all()
    if bins == cells:
        torch.testing.assert_close(weights, torch.eye(bins))


def test_all_of_it_learns():
    torch.manual_seed(0)
    net = head()
    sample = PoseDataSample(gt_instance_labels=InstanceData())
    sample.gt_instance_labels.keypoint_x_labels = torch.rand(1, 3, 128).softmax(-1)
    sample.gt_instance_labels.keypoint_y_labels = torch.rand(1, 3, 96).softmax(-1)
    sample.gt_instance_labels.keypoint_weights = torch.ones(1, 3)
    net.loss((torch.randn(2, 5, 6, 8),), [sample, sample])["loss_kpt"].backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
