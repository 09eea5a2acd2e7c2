"""Oscillation is counted once a step, at the weights themselves; damping and freezing act on it."""

import pytest
import torch
import torch.nn.functional as F

from ausam_core import SAM
from tasks.qat.method import adapt_to_method
from tasks.qat.oscillation import Oscillation, dampen
from tasks.qat.steps import STEPS
from tests.tasks.qat.nets import CLASSES, images, quantized

NAME = "layer1.conv1"


def weight_and_step(network):
    layer = network.body.get_submodule(NAME)
    return layer.weight.data, layer.step.data


def put(network, code):
    """Give one weight a code."""
    weight, step = weight_and_step(network)
    weight[0, 0, 0, 0] = code * step[0]


def position(network):
    at = 0
    for name, layer in network.layers():
        if name == NAME:
            return at
        at += layer.weight.numel()


def test_a_reversal_counts_and_a_move_in_one_direction_does_not():
    network = quantized()
    put(network, -2)
    tracker, at = Oscillation(network, momentum=0.5, per_layer=None), position(network)
    frequencies = []
    for code in (-1, 0, 1, 0, 0, 1):
        put(network, code)
        tracker.count()
        frequencies.append(float(tracker.frequency[at]))
    assert frequencies == [0, 0, 0, 0.5, 0.25, 0.625]
    assert int((tracker.frequency > 0).sum()) == 1
    assert float(tracker.rate()) == pytest.approx(1 / len(tracker.codes))


def test_the_frequency_of_a_weight_that_always_jumps_goes_to_one():
    network = quantized()
    tracker = Oscillation(network, momentum=0.1, per_layer=None)
    for i in range(100):
        put(network, i % 2)
        tracker.count()
    assert float(tracker.frequency[position(network)]) > 0.99


def test_the_perturbation_of_sam_counts_as_nothing():
    """ε flips codes in pass 2; restored and not updated, nothing has changed."""
    network = quantized().train()
    method = SAM(torch.optim.SGD(network.parameters(), lr=0.0), network, rho=5.0, exclude=[STEPS])
    adapt_to_method(network, method)
    tracker, flips = Oscillation(network, per_layer=None), []
    layer = network.body.get_submodule(NAME)
    before = layer.codes()
    layer.register_forward_hook(lambda m, a, o: flips.append(int((m.codes() != before).sum())))
    labels = torch.arange(8) % CLASSES
    for _ in range(3):
        method.step(lambda: F.cross_entropy(network(images(8)), labels, reduction="none"))
        tracker.count()
    assert flips[1] > 0 == flips[0]
    assert not tracker.frequency.any() and not tracker.direction.any()


def test_a_sample_of_each_layer_is_watched():
    network = quantized()
    tracker = Oscillation(network, per_layer=50)
    sizes = [layer.weight.numel() for _, layer in network.layers()]
    assert len(network.table) * 25 < len(tracker.codes) <= len(sizes) * 50 < sum(sizes)
    tracker.count()
    assert not tracker.frequency.any()


def test_a_frozen_weight_stays_at_its_mean_code_and_others_move():
    network = quantized()
    tracker, at = Oscillation(network, momentum=0.1, per_layer=None), position(network)
    for i in range(40):
        put(network, -1 if i % 4 else 0)
        tracker.count()
    tracker.freeze(threshold=0.1)
    weight, step = weight_and_step(network)
    assert tracker.frozen[at] and int(tracker.frozen.sum()) == 1
    assert weight[0, 0, 0, 0] == -step[0]
    for _ in range(3):
        put(network, 1)
        weight[1] += 0.5 * step[1]
        tracker.count()
        tracker.freeze(threshold=0.1)
    assert weight[0, 0, 0, 0] == -step[0]


def test_dampening_draws_weights_to_their_codes_and_leaves_those_outside():
    network = quantized()
    layer = network.body.get_submodule(NAME)
    step = layer.step.view(-1, 1, 1, 1)
    before, codes = layer.weight.detach().clone(), layer.codes()
    dampen(network, 0.25)
    inside = (before > -2 * step) & (before < step)
    expected = torch.where(inside, before + 0.25 * (codes * step - before), before)
    torch.testing.assert_close(layer.weight.detach(), expected.detach())
    assert inside.any() and not inside.all() and torch.equal(layer.codes(), codes)


def test_the_state_comes_back():
    network = quantized()
    tracker = Oscillation(network)
    for code in (0, 1, 0):
        put(network, code)
        tracker.count()
    other = Oscillation(quantized(seed=3))
    other.load_state_dict(tracker.state_dict())
    assert all(torch.equal(v, tracker.state_dict()[k]) for k, v in other.state_dict().items())
    assert tracker.frequency.any()


def test_counting_begins_anew_where_the_state_watched_other_weights():
    network = quantized()
    sample, every = Oscillation(network, per_layer=50), Oscillation(network, per_layer=None)
    sample.count()
    assert not every.load_state_dict(sample.state_dict())
    every.count()
    every.freeze(0.5)
    assert Oscillation(network, per_layer=50).load_state_dict(sample.state_dict())
