"""The integer network computes with integers, and what the quantized network computes."""

import copy

import pytest
import torch
import torch.nn.functional as F

from ausam_core.errors import AusamError
from tasks.qat.convert import convert
from tasks.qat.deploy.integer import FP32_EXACT, Accumulate, ToCodes
from tasks.qat.deploy.lower import lower
from tasks.qat.grid import Grid
from tasks.qat.policy import Policy
from tasks.qat.quantize import quantize
from tests.tasks.qat.nets import NETS, Residual, build, images, quantized

POLICIES = [Policy(), Policy(4, 8), Policy(3, 3, first_last="same"), Policy(granularity="tensor")]


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_logits_are_those_of_the_quantized_network_but_for_rare_flips(kind, policy):
    network = quantized(kind, policy)
    inputs = images(64, seed=9)
    found, expected = lower(network)(inputs), network(inputs)
    agree = (found - expected).abs().amax(1) < 1e-5
    assert agree.float().mean() > 0.9 and found.std() > 0.01
    assert (found.argmax(1) == expected.argmax(1)).float().mean() >= 0.98


@pytest.mark.parametrize("kind", NETS)
def test_everything_that_enters_and_leaves_a_sum_is_a_whole_number_within_its_bound(kind):
    deployed, seen = lower(quantized(kind)), []

    def look(module, args, output):
        seen.append(module)
        assert torch.equal(args[0], args[0].round())
        assert args[0].min() >= module.input_grid.low and args[0].max() <= module.input_grid.high
        assert torch.equal(output, output.round()) and output.abs().max() <= module.bound
        assert output.unique().numel() > 2

    for module in deployed.modules():
        if isinstance(module, Accumulate):
            module.register_forward_hook(look)
    deployed(images())
    assert len(seen) == len(quantized(kind).table)


def test_sums_of_codes_in_fp32_do_not_depend_on_order_or_memory_format():
    for module in lower(quantized()).modules():
        if not isinstance(module, Accumulate) or module.conv is None:
            continue
        generator = torch.Generator().manual_seed(0)
        grid = module.input_grid
        channels = module.codes.shape[1] * module.conv["groups"]
        codes = torch.randint(grid.low, grid.high + 1, (4, channels, 9, 9), generator=generator)
        exact = F.conv2d(codes.double(), module.codes.double(), **module.conv)
        assert torch.equal(module(codes.float()).double(), exact)
        last = codes.float().contiguous(memory_format=torch.channels_last)
        assert torch.equal(module(last).double(), exact)


def test_the_network_it_came_from_stays():
    network = quantized()
    before = copy.deepcopy(network.state_dict())
    lower(network)(images())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_a_sum_that_fp32_could_round_is_taken_in_fp64():
    codes = torch.full((3, 1024), 127.0)
    wide = Accumulate(codes, Grid(8, True), Grid(8, False), None)
    assert wide.bound == 1024 * 127 * 255 > FP32_EXACT and wide.wide
    inputs = torch.full((2, 1024), 255.0)
    inputs[:, 0] = 254
    assert wide(inputs)[0, 0] == 1024 * 127 * 255 - 127
    narrow = Accumulate(codes[:, :512], Grid(8, True), Grid(8, False), None)
    assert not narrow.wide


def test_codes_round_half_to_even_and_keep_the_sign():
    codes = ToCodes(torch.tensor(0.5), Grid(2, True))(torch.tensor([0.25, 0.75, -9.0, 9.0, -0.25]))
    assert codes.tolist() == [0, 1, -2, 1, 0] and codes.dtype == torch.float32


def test_it_can_be_exported_by_torch(tmp_path):
    deployed, inputs = lower(quantized()), images(4)
    program = torch.export.export(deployed, (inputs,))
    torch.export.save(program, tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    assert torch.equal(loaded(inputs), deployed(inputs))


def test_a_network_that_was_never_calibrated_is_refused():
    with pytest.raises(AusamError, match="never calibrated"):
        lower(convert(build()), (3, 12, 12))


def test_a_layer_in_floating_point_is_named():
    with pytest.raises(AusamError, match="layer conv1 is in floating point"):
        lower(quantized(policy=Policy(first_last="fp")))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("layer1.conv2.weight", torch.nan, "layer layer1.conv2 has a weight that is not finite"),
        ("fc.bias", torch.inf, "layer fc has a bias that is not finite"),
        ("bn1.running_mean", torch.nan, "layer bn1 has a running_mean that is not finite"),
        ("layer2.bn2.running_var", torch.inf, "layer layer2.bn2 has a running_var .*diverged"),
    ],
)
def test_a_value_that_is_not_finite_is_named_in_a_trained_network_and_a_float_one(
    name, value, said
):
    network, model = quantized(), Residual()
    for state in (network.body.state_dict(), model.state_dict()):
        state[name].view(-1)[0] = value
    with pytest.raises(AusamError, match=said):
        lower(network)
    with pytest.raises(AusamError, match=said):
        quantize(model, images())


def test_without_a_shape_it_says_what_is_missing():
    network = convert(build())
    for step in network.steps().values():
        step.data.fill_(0.1)
    with pytest.raises(AusamError, match=r"has not seen an image yet; give the shape"):
        lower(network)


def test_a_shape_that_the_network_does_not_take_is_refused():
    with pytest.raises(AusamError, match=r"does not run on an input of shape \[4, 12, 12\]"):
        lower(quantized(), (4, 12, 12))
