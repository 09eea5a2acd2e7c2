"""The graph of a network follows its mode, has no side effects, and knows its ends and signs."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import StochasticDepth

from ausam_core.errors import AusamError
from tasks.qat import calibrate, convert, quantize
from tasks.qat.graph import output_nodes, trace
from tests.tasks.qat.cases import SMALL, Between, Heads, Names, Twice, behind, between, lived_in
from tests.tasks.qat.nets import images


def drops(network):
    with torch.no_grad():
        return not torch.equal(network(images()), network(images()))


@pytest.mark.parametrize("converted_in_training", [True, False])
def test_dropout_by_a_function_follows_the_mode_whatever_it_was_converted_in(
    converted_in_training,
):
    build = behind(lambda net, x: F.dropout(F.relu(x).mean([2, 3]), 0.5, net.training))
    network = convert(build().train(converted_in_training))
    calibrate(network, [images()])
    assert not drops(network.eval())
    assert drops(network.train())


@pytest.mark.parametrize("name", SMALL)
def test_the_graph_in_floating_point_is_the_network(name):
    float_network = lived_in(SMALL[name](), 12)
    network = convert(float_network).eval()
    network.behaviour.floats = True
    found, expected = network(images()), copy.deepcopy(float_network)(images())
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        found, expected = tuple(found.values()), tuple(expected.values())
    torch.testing.assert_close(found, expected)


def test_the_mode_of_every_module_stays():
    network = Between().train()
    network.n.eval()
    trace(network)
    assert network.training and not network.n.training and network.fc.training


class Auxiliary(Between):
    def forward(self, x):
        out = super().forward(x)
        return (out, out) if self.training else out


def test_another_graph_in_training_is_said_and_evaluation_is_taken():
    with pytest.warns(UserWarning, match="Auxiliary computes something else in training"):
        network = convert(Auxiliary())
    calibrate(network, [images()])
    assert isinstance(network.train()(images()), torch.Tensor)


class OtherTensor(Between):
    def forward(self, x):
        first = self.a(x)
        second = self.n(first)
        return self.b(torch.relu(first if self.training else second))


def test_another_tensor_in_training_is_said():
    with pytest.warns(UserWarning, match="OtherTensor computes something else in training"):
        convert(OtherTensor())


def test_another_number_in_training_is_refused_whichever_argument_it_is():
    build = between(lambda net, x: torch.sub(2.0 if net.training else 1.0, x))
    with pytest.raises(AusamError, match="sub .at sub. depends on the mode of the network"):
        convert(build())


DROPPED = {
    "on the right of a sum": lambda net, x: x + F.dropout(x * 2, 0.5, net.training),
    "taken from a number": lambda net, x: 1 - F.dropout(x, 0.5, net.training),
    "twice": lambda net, x: F.dropout(F.dropout(x, 0.5, net.training), 0.2, net.training),
    "whole paths": lambda net, x: x + net.drop(x * 2),
}


@pytest.mark.parametrize("name", DROPPED)
@pytest.mark.filterwarnings("error")
def test_what_reads_a_dropout_by_a_function_stays_as_it_is(name):
    network = between(DROPPED[name], drop=StochasticDepth(0.5, "row"))().eval()
    body = trace(copy.deepcopy(network))
    assert torch.equal(body.eval()(images()), network(images()))
    assert drops(body.train())


def test_outputs_have_names():
    assert list(output_nodes(trace(Between()))) == ["logits"]
    assert list(output_nodes(trace(Heads()))) == ["output_0", "output_1"]
    assert list(output_nodes(trace(Heads(by_name=True)))) == ["x", "y"]


def test_every_head_is_an_end_and_has_eight_bits():
    bits = {row.name: row.weight_bits for row in convert(Heads()).table}
    assert bits == {"a": 8, "final": 2, "x": 8, "y": 8}


def test_each_call_of_a_layer_reads_a_quantizer_of_its_own_and_the_weight_is_one():
    network = convert(Twice())
    rows = [row for row in network.table if row.name == "c"]
    assert len({row.activation for row in rows}) == 2
    assert [name for name, _ in network.layers()] == ["a", "c", "fc"]


def test_names_that_meet_stay_apart():
    network = quantize(Names(), images())
    rows = {row.name: row for row in network.table}
    assert rows["a.b_c"].activation != rows["a_b.c"].activation
    assert not rows["a.b_c"].signed and rows["a_b.c"].signed
    assert set(network.activations()) == {row.activation for row in network.table}


SIGNS = {
    "a relu": (lambda x: F.relu(x), False),
    "a relu by a method": (lambda x: x.relu(), False),
    "a sum with a negative factor": (lambda x: torch.add(F.relu(x), F.relu(x), alpha=-1), True),
    "a sum": (lambda x: F.relu(x) + x.relu() + 0.5, False),
    "a negative constant": (lambda x: F.relu(x) - 0.5, True),
    "padding below zero": (lambda x: F.pad(F.relu(x), (1, 1), value=-1.0), True),
    "zero padding": (lambda x: F.pad(F.relu(x), (1, 1)), False),
    "concatenation": (lambda x: torch.cat([F.relu(x), F.relu6(x)], 1), False),
    "concatenation with a negative": (lambda x: torch.cat([F.relu(x), x], 1), True),
    "clamped from zero": (lambda x: x.clamp(min=0), False),
    "clamped below zero": (lambda x: F.relu(x).clamp(max=-0.1), True),
    "a sigmoid": (lambda x: torch.sigmoid(x), False),
    "a product with a gate": (lambda x: F.relu(x) * torch.sigmoid(x), False),
    "a part": (lambda x: F.relu(x)[:, 2:, ::2].transpose(2, 3).chunk(2, 1)[0], False),
}


@pytest.mark.parametrize("name", SIGNS)
def test_whether_a_tensor_can_be_negative_is_told_by_its_operations(name):
    function, signed = SIGNS[name]
    network = between(lambda net, x: net.reader(function(x)), reader=nn.LazyConv2d(8, 3))()
    with torch.no_grad():
        network(images())
    row = next(row for row in convert(network).table if row.name == "reader")
    assert row.signed == signed
