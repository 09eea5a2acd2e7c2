"""The layout changes, and nothing else does."""

from types import SimpleNamespace

import torch
from torch import nn

from tasks.pose import ChannelsLastHook


def test_the_layout_reaches_the_features_and_values_stay():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3))
    images = torch.randn(2, 3, 9, 9)
    before, state = model(images), {k: v.clone() for k, v in model.state_dict().items()}
    ChannelsLastHook().before_run(SimpleNamespace(model=model))
    after = model(images)
    assert before.is_contiguous() and not after.is_contiguous()
    assert after.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(after, before)
    for name in ("0.weight", "2.weight"):
        assert torch.equal(model.state_dict()[name], state[name])
