"""One claim about every network: what is trained is what the file computes, to the bit."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from ausam_core import SAM, GradientNormSelection, SelectiveBatchSampler
from tasks.qat import STEPS, Policy, adapt_to_method, calibrate, quantize
from tasks.qat.deploy.agreement import compare_with_training, flat_outputs
from tasks.qat.deploy.engines import Session
from tasks.qat.deploy.export import to_onnx
from tasks.qat.deploy.lower import lower
from tests.tasks.qat.cases import SMALL, WIDE, lived_in

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

RARE = 2e-3
"""The share of images' outputs that a flipped code may have moved in the style qdq."""


def inputs(count, size, seed=5):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def losses(network, images):
    """A loss of each sample, whatever the network returns."""
    return sum(output.flatten(1).square().mean(1) for output in flat_outputs(network(images)))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9)


def adam(parameters):
    """However large the gradients of a deep network with random weights are."""
    return torch.optim.Adam(parameters, lr=1e-4)


def trained(build, size, policy=None, batch=8, optimizer=sgd):
    """Converted, calibrated, and trained for three steps of SAM on half of each batch."""
    torch.manual_seed(0)
    network = quantize(lived_in(build(), size), inputs(2, size), policy)
    data = inputs(3 * batch, size)
    calibrate(network, data.split(batch))
    method = SAM(optimizer(network.parameters()), network, rho=0.05, exclude=[STEPS])
    adapt_to_method(network, method)
    network.train()
    for part in data.split(batch):
        method.step(lambda part=part: losses(network, part))
    return network.eval()


def hold(network, size, count=8, styles=("exact", "qdq"), spread=0):
    """Every promise, in the order in which they build on each other.

    In the style qdq a tie in fp32 may flip a code. Random weights in many layers spread that over
    the outputs of its image: so many images it may be.
    """
    images = inputs(count, size, seed=9)
    deployed = lower(network)
    found = compare_with_training(network, deployed, images)
    assert not found.broken, found
    ours = flat_outputs(deployed(images))
    assert all(float(output.std()) > 1e-6 for output in ours)
    for style in styles:
        for weights in ("int2", "int8"):
            run = Session(to_onnx(deployed, images.shape[1:], style, weights))
            for count in (1, 3, len(images)):
                pairs = zip(ours, run(images[:count]), strict=True)
                for expected, result in pairs:
                    expected = expected[:count]
                    if style == "exact":
                        assert torch.equal(result, expected), (style, weights, count)
                    else:
                        scale = expected.abs().max()
                        apart = (result - expected).abs() > 1e-5 * scale
                        moved = int(apart.flatten(1).any(1).sum())
                        rare = apart.float().mean() <= RARE or _one_flip(result, expected, scale)
                        assert rare or moved <= spread


def _one_flip(result, expected, scale):
    """In a small network one code moves many outputs, but each of them a little."""
    return float((result - expected).abs().max()) < 0.05 * float(scale)


@pytest.mark.parametrize("name", SMALL)
def test_what_is_trained_is_what_the_file_computes(name):
    hold(trained(SMALL[name], 12), 12)


@pytest.mark.parametrize("policy", [Policy(4, 8), Policy(3, 3, first_last="same", function_bits=4)])
@pytest.mark.parametrize("name", ["functions", "a layer twice", "two heads", "padding by name"])
def test_at_other_bits_too(name, policy):
    hold(trained(SMALL[name], 12, policy), 12)


@pytest.mark.slow
@pytest.mark.parametrize("name", WIDE)
def test_networks_of_torchvision(name):
    build, size = WIDE[name]
    hold(trained(build, size, batch=4, optimizer=adam), size, count=4, spread=1)


SUMS = ("alpha", "functions", "in place", "shortcuts without parameters")


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", SUMS)
def test_with_sums_of_codes_too(name, bits):
    hold(trained(SMALL[name], 12, Policy(sum_bits=bits)), 12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "regnet_x_400mf", "googlenet"])
def test_networks_of_torchvision_with_sums_of_codes(name):
    build, size = WIDE[name]
    network = trained(build, size, Policy(sum_bits=8), batch=4, optimizer=adam)
    hold(network, size, count=4, styles=["exact"])  # where a code flips, random weights spread it


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_with_samples_that_ausam_chooses(name):
    build, size = WIDE[name]
    torch.manual_seed(0)
    network = quantize(lived_in(build(), size), inputs(2, size))
    data, labels = inputs(16, size), torch.arange(16) % 10
    calibrate(network, [(data, labels)])
    chosen = GradientNormSelection(16, alpha=0.5, s_min=0.1, s_max=0.5, start_epoch=1)
    sampler = SelectiveBatchSampler(torch.utils.data.RandomSampler(range(16)), 8, chosen)
    method = SAM(torch.optim.SGD(network.parameters(), 0.01), network, rho=0.05, exclude=[STEPS])
    adapt_to_method(network, method)
    network.train()
    for _ in range(2):
        for batch, part in sampler.over(DataLoader(range(16), batch_sampler=sampler)):
            result = method.step(
                lambda part=part: F.cross_entropy(
                    network(data[part]), labels[part], reduction="none"
                )
            )
            sampler.record(batch, result)
    hold(network.eval(), size, count=4)
