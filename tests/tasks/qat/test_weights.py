"""Weights come from wherever people keep them, and steps are chosen anew for them."""

import copy

import pytest
import torch
from torch import nn

from ausam_core.errors import AusamError
from tasks.qat import Policy, calibrate, convert, load_weights
from tasks.qat.steps import best_step
from tests.tasks.qat.nets import Residual, build, images, quantized


def floats(network):
    network = copy.deepcopy(network).eval()
    network.behaviour.floats = True
    return network(images())


def prefixed(prefix):
    return lambda state: {f"{prefix}{name}": value for name, value in state.items()}


SHAPES_OF_A_STATE = {
    "bare": lambda state: state,
    "of DataParallel": prefixed("module."),
    "of torch.compile": prefixed("_orig_mod."),
    "of a classifier": lambda state: {
        **prefixed("net.")(state),
        "data_preprocessor.mean": torch.ones(3),
    },
    "of both": prefixed("module.net."),
}


@pytest.mark.parametrize("form", SHAPES_OF_A_STATE.values(), ids=SHAPES_OF_A_STATE)
def test_the_state_of_a_float_network_loads_as_it_is(form):
    source, network = build(seed=3), convert(build())
    load_weights(network, form(source.state_dict()))
    assert torch.equal(floats(network), source(images()))
    for _, layer in network.layers():
        assert torch.equal(layer.step, best_step(layer.weight, layer.grid, channels=True))


def test_from_four_bits_to_two_the_steps_are_those_of_two():
    four, two = quantized(policy=Policy(4, 4), seed=3), convert(build())
    load_weights(two, four.state_dict())
    assert torch.equal(floats(two), floats(four))
    layer = two.body.get_submodule("layer1.conv1")
    assert torch.equal(layer.step, best_step(layer.weight, layer.grid, channels=True))
    assert (layer.step > 1.5 * four.body.get_submodule("layer1.conv1").step).all()
    with pytest.raises(AusamError, match="never calibrated"):
        two.check_steps()
    calibrate(two, [images()])
    two.check_steps()


class Auxiliary(Residual):
    """Has a head that evaluation does not use, as in checkpoints of GoogLeNet."""

    def __init__(self):
        super().__init__()
        self.aux = nn.Linear(8, 3)


def test_weights_that_the_graph_does_not_use_may_be_there():
    model = Auxiliary()
    load_weights(convert(model), model.state_dict())


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (build(width=16).state_dict(), "another width: conv1.weight"),
        (build("depthwise").state_dict(), "another architecture: it has no conv1.weight"),
        ({}, "another architecture"),
        ({**build().state_dict(), "extra.weight": torch.ones(1)}, "has extra.weight, which is not"),
        ({**build().state_dict(), "fc.bias": torch.full((10,), torch.nan)}, "fc.bias that are not"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_nothing_changes(state, said):
    network = convert(build())
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(AusamError, match=said):
        load_weights(network, state)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
