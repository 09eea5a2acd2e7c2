"""From floats to a learned W2A4 network and its integer file, in seconds, without MMEngine."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from ausam_core import SAM, Base, GradientNormSelection, SelectiveBatchSampler, UniformSelection
from ausam_core.batch_norm_reestimation import reestimate
from tasks.qat.calibration import calibrate
from tasks.qat.convert import convert
from tasks.qat.deploy.lower import lower
from tasks.qat.method import adapt_to_method
from tasks.qat.oscillation import Oscillation
from tasks.qat.steps import STEPS
from tests.tasks.qat.nets import CLASSES, Residual, images

SIZE, EPOCHS = 320, 4
METHODS = ["sgd", "sam", "random", "ausam"]


def data(seed):
    """Ten pictures, one a class, under noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(SIZE) % CLASSES
    return images(CLASSES, seed=0)[labels] + 0.7 * torch.randn(
        SIZE, 3, 12, 12, generator=generator
    ), labels


def train_floats():
    torch.manual_seed(0)
    network, (inputs, labels) = Residual(8), data(1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(4):
        for part in torch.randperm(SIZE).split(32):
            F.cross_entropy(network(inputs[part]), labels[part]).backward()
            optimizer.step()
            optimizer.zero_grad()
    return network.eval()


@pytest.fixture(scope="module")
def floats():
    return train_floats()


def selection(kind):
    if kind == "ausam":
        return GradientNormSelection(SIZE, alpha=0.5, s_min=0.1, s_max=0.5, start_epoch=1)
    return UniformSelection(SIZE, alpha=0.5) if kind == "random" else None


def train(floats, kind, stop=EPOCHS, state=None):
    """Train W2A4; returns the network and the state that :func:`train` goes on from."""
    network, (inputs, labels) = convert(copy.deepcopy(floats)), data(1)
    calibrate(network, inputs.split(64))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    excluded = {} if kind == "sgd" else dict(rho=0.05, exclude=[STEPS])
    method = (Base if kind == "sgd" else SAM)(optimizer, network, **excluded)
    adapt_to_method(network, method)
    torch.manual_seed(3)
    chosen = selection(kind)
    order = torch.utils.data.RandomSampler(range(SIZE))
    sampler = SelectiveBatchSampler(order, 32, chosen) if chosen is not None else None
    tracker = Oscillation(network)
    start = 0
    if state is not None:
        start = state["epoch"]
        network.load_state_dict(state["network"])
        method.load_state_dict(state["method"])
        tracker.load_state_dict(state["tracker"])
        if sampler is not None:
            sampler.selection.load_state_dict(state["selection"])
    network.train()
    for epoch in range(start, stop):
        if sampler is None:
            parts = ((None, part) for part in torch.randperm(SIZE).split(32))
        else:
            sampler.set_epoch(epoch)
            parts = sampler.over(DataLoader(range(SIZE), batch_sampler=sampler))
        for batch, part in parts:
            result = method.step(
                lambda part=part: F.cross_entropy(
                    network(inputs[part]), labels[part], reduction="none"
                )
            )
            if sampler is not None:
                sampler.record(batch, result)
            tracker.count()
    kept = dict(
        epoch=stop,
        network=copy.deepcopy(network.state_dict()),
        method=copy.deepcopy(method.state_dict()),
        tracker=copy.deepcopy(tracker.state_dict()),
        selection=None if sampler is None else copy.deepcopy(sampler.selection.state_dict()),
    )
    return network, kept


def accuracy(network):
    inputs, labels = data(2)
    with torch.no_grad():
        return float((network.eval()(inputs).argmax(1) == labels).float().mean())


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_learns_far_more_than_chance_and_so_does_its_integer_form(floats, kind):
    network, _ = train(floats, kind)
    reestimate(network, data(1)[0].split(64))
    assert accuracy(network) > 0.6  # chance is 0.1
    assert abs(accuracy(lower(network)) - accuracy(network)) <= 0.01


def test_training_recovers_what_rounding_to_two_bits_has_cost(floats):
    untrained = convert(copy.deepcopy(floats))
    calibrate(untrained, data(1)[0].split(64))
    trained, _ = train(floats, "sam")
    reestimate(trained, data(1)[0].split(64))
    assert accuracy(trained) > accuracy(untrained) + 0.1


@pytest.mark.parametrize("kind", ["sgd", "ausam"])
def test_the_same_seed_gives_the_same_network_and_a_resumed_run_too(floats, kind):
    _, whole = train(floats, kind)
    _, again = train(floats, kind)
    _, half = train(floats, kind, stop=2)
    _, resumed = train(floats, kind, state=half)
    for name, value in whole["network"].items():
        assert torch.equal(value, again["network"][name])
        assert torch.equal(value, resumed["network"][name]), name
    assert torch.equal(whole["tracker"]["frequency"], resumed["tracker"]["frequency"])
    assert whole["tracker"]["frequency"].any()
