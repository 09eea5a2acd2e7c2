"""Running statistics are frozen for a pass, whatever normalises and however often it is asked."""

import pytest
import torch
from torch import nn

from ausam_core import RunningStatistics

LAYERS = {
    "batch_norm": lambda: nn.BatchNorm1d(3),
    "cumulative": lambda: nn.BatchNorm1d(3, momentum=None),
    "sync_batch_norm": lambda: nn.SyncBatchNorm(3),
    "instance_norm": lambda: nn.InstanceNorm1d(3, track_running_stats=True),
}


def state(layer):
    return {k: v.clone() for k, v in layer.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("name", [n for n in LAYERS if n != "sync_batch_norm"])
def test_frozen_statistics_do_not_move_and_move_again_afterwards(name):
    layer, x = LAYERS[name](), torch.randn(8, 3, 5)
    layer(x)
    before = state(layer)
    with RunningStatistics(layer).frozen():
        layer(x + 3)
    assert same(before, state(layer))
    layer(x + 3)
    assert not torch.equal(before["running_mean"], layer.running_mean)


@pytest.mark.parametrize("name", [n for n in LAYERS if n != "sync_batch_norm"])
def test_frozen_layers_still_normalise_by_the_batch(name):
    layer, x = LAYERS[name](), torch.randn(8, 3, 5) * 4 + 2
    expected = layer(x)
    with RunningStatistics(layer).frozen():
        assert torch.equal(layer(x), expected)


class Doubled(nn.BatchNorm1d):
    """A forward of its own: that it looks at the flag cannot be seen."""

    def forward(self, x):
        return 2 * super().forward(x)


class Heeds(Doubled):
    heeds_track_running_stats = True


@pytest.mark.parametrize(("kind", "told"), [(Doubled, False), (Heeds, True)])
def test_a_subclass_that_says_it_heeds_the_flag_is_told_and_others_are_put_back(kind, told):
    layer, x = kind(3), torch.randn(8, 3, 5)
    layer(x)
    before = state(layer)
    with RunningStatistics(layer).frozen():
        assert layer.track_running_stats is not told
        layer(x + 3)
    assert same(before, state(layer)) and layer.track_running_stats


def test_freezing_nests():
    layer, x = nn.BatchNorm1d(3), torch.randn(8, 3)
    statistics = RunningStatistics(layer)
    with statistics.frozen():
        with statistics.frozen():
            layer(x)
        layer(x)
        assert layer.num_batches_tracked == 0 and torch.equal(layer.running_mean, torch.zeros(3))
    layer(x)
    assert layer.num_batches_tracked == 1


def test_statistics_are_released_when_the_body_raises():
    layer = nn.BatchNorm1d(3)
    with pytest.raises(RuntimeError), RunningStatistics(layer).frozen():
        raise RuntimeError
    assert layer.track_running_stats


def test_layers_in_evaluation_keep_using_their_running_statistics():
    layer = nn.BatchNorm1d(3).eval()
    layer.running_mean += 1
    x = torch.randn(8, 3)
    expected = layer(x)
    with RunningStatistics(layer).frozen():
        assert torch.equal(layer(x), expected)


def test_layers_that_track_nothing_stay_so():
    layer = nn.BatchNorm1d(3, track_running_stats=False)
    with RunningStatistics(layer).frozen():
        layer(torch.randn(8, 3))
    assert not layer.track_running_stats
