"""Calibration takes images as people have them, and says in one sentence which it cannot take."""

import pytest
import torch
from torch import nn

from ausam_core.errors import AusamError
from tasks.qat import calibrate, convert, quantize
from tests.tasks.qat.nets import build, images


def steps(network, loader):
    calibrate(network, loader)
    return torch.stack([q.step.detach() for q in network.activations().values()])


def test_a_tensor_is_one_batch():
    network = convert(build())
    assert torch.equal(steps(network, images()), steps(network, [images()]))
    assert network.input_shape == (3, 12, 12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_images_of_another_precision_are_those_of_the_network(dtype):
    network = convert(build())
    expected = steps(network, images().to(dtype).float())
    assert torch.equal(steps(network, images().to(dtype)), expected)


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (torch.zeros(2, 1, 12, 12), r"does not run on an input of shape \[1, 12, 12\]"),
        (torch.zeros(2, 3, 8, 8), r"does not run on an input of shape \[3, 8, 8\]"),
        (images(0), "a batch of images is empty; give one image or more"),
        (torch.full((2, 3, 12, 12), torch.inf), "a batch of images is not finite"),
    ],
)
def test_a_batch_that_cannot_be_taken_leaves_the_network_as_it_was(batch, said):
    network = quantize(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(576, 2)), images()
    ).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(AusamError, match=said) as refused:
        calibrate(network, [images(), batch])
    assert "\n" not in str(refused.value)
    assert network.input_shape == (3, 12, 12) and network.training
    assert not network.behaviour.floats
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
