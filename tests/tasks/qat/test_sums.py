"""With ``sum_bits`` sums of tensors are sums of codes; without, they stay as they were."""

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from ausam_core.errors import AusamError
from tasks.qat.calibration import calibrate
from tasks.qat.convert import convert
from tasks.qat.deploy.agreement import compare_with_training
from tasks.qat.deploy.integer import Arithmetic
from tasks.qat.deploy.lower import lower
from tasks.qat.layers import ActivationQuantizer
from tasks.qat.policy import Policy
from tasks.qat.sums import sums_of
from tests.tasks.qat.cases import between, conv
from tests.tasks.qat.nets import build, images, quantized


class Values(fx.Interpreter):
    """What each node of a graph gives."""

    def run_node(self, node):
        self.found[node] = value = super().run_node(node)
        return value


def values_of(network):
    values = Values(network.body)
    values.found = {}
    with torch.no_grad(), network.quantized_weights():
        values.run(images())
    return values.found


def is_rounded(network, node):
    return node.op == "call_module" and isinstance(
        network.body.get_submodule(node.target), ActivationQuantizer
    )


@pytest.mark.parametrize("bits", [4, 8])
def test_what_a_sum_reads_and_gives_has_few_values(bits):
    network = quantized(policy=Policy(sum_bits=bits))
    values, sums = values_of(network), sums_of(network.body)
    assert len(sums) == 2
    for node in sums:
        (clip,) = node.users
        (result,) = clip.users  # behind the ReLU
        for tensor in (*node.args, result):
            assert is_rounded(network, tensor)
            assert 4 < len(values[tensor].unique()) <= 2**bits


def test_whoever_reads_such_a_tensor_reads_its_codes():
    network = quantized(policy=Policy(sum_bits=8))
    for node in sums_of(network.body):
        for tensor in (*node.args, next(iter(next(iter(node.users)).users))):
            assert list(tensor.args[0].users) == [tensor]


def test_a_layer_of_the_same_bits_rounds_no_second_time():
    rows = {row.name: row for row in quantized(policy=Policy(2, 8, sum_bits=8)).table}
    assert rows["layer1.conv1"].activation == "activations.add_right"
    assert rows["layer2.conv1"].activation == "activations.add_sum"
    rows = {row.name: row for row in quantized(policy=Policy(2, 4, sum_bits=8)).table}
    assert rows["layer1.conv1"].activation == "activations.layer1_conv1"


def test_by_default_a_sum_is_real():
    network = quantized()
    values = values_of(network)
    for node in sums_of(network.body):
        assert not any(is_rounded(network, tensor) for tensor in node.args)
        assert len(values[node].unique()) > 1000


def _sizes(net, x):
    half = x.size(1) // 2 + x.shape[2] - x.shape[2]
    return x[:, :half] - 2.0 * x[:, half:] + 0.5


SUMS = {
    "itself": (lambda net, x: F.relu(x + x), ["left", "sum"]),
    "three": (lambda net, x: F.relu(x) + x + 1.0, ["left", "right", "sum"]),
    "a difference": (lambda net, x: torch.sub(F.relu6(x), x, alpha=0.5), ["left", "right", "sum"]),
    "numbers alone": (lambda net, x: F.relu(x * 0.5 + 0.1), []),
    "a product": (lambda net, x: F.relu(x) * x, []),
}


@pytest.mark.parametrize("name", SUMS)
def test_only_sums_of_two_tensors_are_rounded_and_each_tensor_once(name):
    function, expected = SUMS[name]
    network = convert(between(function)(), Policy(sum_bits=8))
    found = [n.rpartition("_")[2] for n in network.activations() if "add" in n or "sub" in n]
    assert found == expected


def test_sums_of_sizes_are_none():
    net = between(_sizes)()
    net.b = conv(4, 8)
    network = convert(net, Policy(sum_bits=8))
    assert len(sums_of(network.body)) == 1
    calibrate(network, images())
    assert network(images()).isfinite().all()


class Output(nn.Sequential):
    def forward(self, x):
        x = super().forward(x)
        return x, F.relu(x) + x


def test_what_the_network_returns_is_left_as_it_is():
    network = convert(Output(conv(3, 8), conv(8, 8)), Policy(sum_bits=8))
    calibrate(network, images())
    (returned,) = list(network.body.graph.nodes)[-1].args
    assert len(returned) == 2 and not any(is_rounded(network, tensor) for tensor in returned)
    assert not compare_with_training(network.eval(), lower(network), images()).broken


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.act = conv(3, 8), conv(8, 8), conv(8, 4), nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.act(self.a(x))
        y = self.b(x)
        y += x
        return self.c(self.act(y))


class OutOfPlace(InPlace):
    def forward(self, x):
        x = F.relu(self.a(x))
        return self.c(F.relu(self.b(x) + x))


def test_a_sum_in_place_has_the_gradients_of_one_that_is_not():
    torch.manual_seed(0)
    pair = [InPlace(), OutOfPlace()]
    pair[1].load_state_dict(pair[0].state_dict())
    found = []
    for net in pair:
        network = convert(net, Policy(sum_bits=4))
        calibrate(network, images())
        network.train()(images(seed=4)).square().mean().backward()
        found.append([p.grad for p in network.parameters()])
    assert len(found[0]) == len(found[1]) and all(map(torch.equal, *found))


def test_steps_of_sums_are_learned():
    network = quantized(policy=Policy(sum_bits=8)).train()
    network(images()).square().mean().backward()
    of_sums = [q.step for name, q in network.activations().items() if "add" in name]
    assert len(of_sums) == 6 and all(float(step.grad) != 0 for step in of_sums)


def test_the_integer_network_adds_what_was_trained():
    network = quantized(policy=Policy(4, 4, sum_bits=6))
    deployed = lower(network)
    assert not compare_with_training(network, deployed, images(32, seed=7)).broken
    assert not any(isinstance(module, Arithmetic) for module in deployed.modules())


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(AusamError):
        Policy(sum_bits=bits)


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        (
            [Policy(sum_bits=8), Policy(sum_bits=6)],
            "add_left is 8 bits in it and 6 bits here",
        ),
        ([Policy(sum_bits=8), Policy()], "rounds 6 tensors for sums and functions .* this one 0"),
    ],
)
def test_the_state_of_other_sums_is_refused(policies, said):
    first, second = (quantized(policy=policy) for policy in policies)
    with pytest.raises(AusamError, match=said):
        second.load_state_dict(first.state_dict())


def test_so_is_that_of_functions_with_other_bits():
    nets = [convert(between(lambda net, x: F.silu(x))(), Policy(function_bits=b)) for b in (8, 4)]
    with pytest.raises(AusamError, match="silu is 8 bits in it and 4 bits here"):
        nets[1].load_state_dict(nets[0].state_dict())


def test_in_float_mode_the_network_is_the_float_one():
    network = convert(build(), Policy(sum_bits=8)).eval()
    network.behaviour.floats = True
    assert torch.equal(network(images()), build()(images()))
