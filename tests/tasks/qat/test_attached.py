"""What hangs on a layer and would be lost with its graph is refused; what the graph sees is not."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from ausam_core.errors import AusamError
from tasks.qat import convert
from tests.tasks.qat.cases import NormAct, conv
from tests.tasks.qat.nets import images


def network():
    torch.manual_seed(0)
    block = nn.Sequential(conv(8, 8), nn.ReLU())
    return nn.Sequential(conv(3, 8), NormAct(8), block, nn.Conv2d(8, 4, 1)).eval()


def doubled(module, inputs, output):
    return 2 * output


@pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("0", r"layer 0 \(Conv2d\)"),
        ("1", r"layer 1 \(NormAct\)"),
        ("2.1", r"layer 2.1 \(ReLU\)"),
        ("", r"the network \(Sequential\)"),
    ],
)
def test_a_hook_that_the_graph_does_not_see_is_refused(name, said, kind):
    model = network()
    getattr(model.get_submodule(name), kind)(lambda *seen: None)
    with pytest.raises(AusamError, match=f"{said} has a forward hook, .*remove it, or write"):
        convert(model)


def test_a_hook_inside_the_network_is_a_part_of_the_graph():
    model = network()
    model[2].register_forward_hook(doubled)
    expected = model(images())
    found = convert(model).eval()
    found.behaviour.floats = True
    torch.testing.assert_close(found(images()), expected)
    assert not torch.equal(expected, network()(images()))


def pruned(layer):
    prune.l1_unstructured(layer, "weight", 0.5)


@pytest.mark.parametrize(
    ("attach", "remedy"),
    [
        (parametrizations.weight_norm, r"parametrize.remove_parametrizations\(layer, \"weight\"\)"),
        (parametrizations.spectral_norm, r"parametrize.remove_parametrizations\(layer"),
        (weight_norm, r"torch.nn.utils.remove_weight_norm\(layer\)"),
        (spectral_norm, r"torch.nn.utils.remove_spectral_norm\(layer\)"),
        (pruned, r"torch.nn.utils.prune.remove\(layer, \"weight\"\)"),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_weight_that_is_computed_is_refused_with_what_makes_it_plain(attach, remedy):
    model = network()
    attach(model[3])
    with pytest.raises(
        AusamError, match=f"weight of layer 3 is computed .*make it one with .*{remedy}"
    ):
        convert(model)


def test_a_pruned_weight_that_was_made_plain_is_taken():
    model = network()
    pruned(model[3])
    prune.remove(model[3], "weight")
    layer = dict(convert(copy.deepcopy(model)).layers())["3"]
    assert torch.equal(layer.weight, model[3].weight)
