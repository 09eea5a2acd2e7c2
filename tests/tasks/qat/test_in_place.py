"""What is changed in place is changed under all its names, or refused where no graph can say so."""

import operator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ausam_core.errors import AusamError
from tasks.qat import Policy, calibrate, convert, quantize
from tasks.qat.deploy.lower import lower
from tasks.qat.graph import trace
from tests.tasks.qat.cases import Between, between, conv
from tests.tasks.qat.nets import images


class PreActivation(nn.Module):
    """A block whose shortcut has a name of its own before the ReLU changes it."""

    def __init__(self):
        super().__init__()
        self.short, self.act, self.conv = nn.Identity(), nn.ReLU(inplace=True), conv(8, 8)

    def forward(self, x):
        short = self.short(x)
        return self.conv(self.act(x)) + short


def _identity_behind(net, x):
    x.relu_()
    return x + net.idn(x)


def _sum_in_place(net, x):
    y = net.idn(x)
    x += 0.3
    return y * x


def _one_module_twice(net, x):
    y = net.act(x * 0.5)
    z = x - 0.1
    net.act(z)
    return y + z + net.act(x - y)


def _pieces(net, x):
    left, right = x.chunk(2, 1)
    left = F.relu(left, inplace=True)
    return torch.cat([right, left], 1)


def _sizes(net, x):
    size = x.size(2)
    half = size
    half /= 2
    return x / size + half


KEPT = {
    "an identity before it": between(lambda net, x: net.block(x), block=PreActivation()),
    "an identity behind it": between(_identity_behind, idn=nn.Identity()),
    "a sum": between(_sum_in_place, idn=nn.Identity()),
    "a module that is called twice": between(_one_module_twice, act=nn.ReLU(True)),
    "pieces that do not overlap": between(_pieces),
    "a view that is read alone": between(
        lambda net, x: net.act(x.flatten(1)).view(-1, 8, 12, 12), act=nn.ReLU(True)
    ),
    "dropout": between(
        lambda net, x: F.dropout(x, 0.5, net.training, True) + x + net.drop(x),
        drop=nn.Dropout(0.5, True),
    ),
    "numbers": between(_sizes),
}


@torch.no_grad()  # with gradients torch lets no piece of a chunk be changed in place
@pytest.mark.parametrize("name", KEPT)
def test_the_graph_computes_what_the_network_computes(name):
    network = KEPT[name]().eval()
    expected = network(images(2))
    assert torch.equal(trace(network).eval()(images(2)), expected)


def _view(net, x):
    x.view(-1, 8, 144).mul_(0.5)
    return x


def _slice(net, x):
    y = x[:, :4]
    y.mul_(0.0)
    return x


def _flattened_before(net, x):
    y = x.flatten(2)
    F.relu(x, inplace=True)
    return y.view_as(x)


def _contiguous(net, x):
    y = x.contiguous()
    y += 1
    return x


def _detached(net, x):
    y = x.detach()
    y *= 2
    return x


def _dropped(net, x):
    y = net.drop(x)
    return net.act(x) + y


def _whole_of_pieces(net, x):
    left, right = x.chunk(2, 1)
    left.relu_()
    return torch.cat([right, left], 1) + x


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (_view, r"mul_ \(at mul_\) changes view in place, and b reads n afterwards.*mul for mul_"),
        (_slice, r"mul_ \(at mul_\) changes getitem in place, and b reads n afterwards"),
        (_flattened_before, r"relu \(at relu\) changes n in place, and b reads view_as"),
        (_contiguous, r"iadd \(at iadd\) changes contiguous in place.*x = x \+ y for x \+= y"),
        (_detached, r"imul \(at imul\) changes detach in place, and b reads n"),
        (_dropped, r"ReLU \(at act\) changes n in place, and add reads drop.*inplace=False"),
        (_whole_of_pieces, r"relu_ \(at relu_\) changes getitem in place, and add reads n"),
    ],
)
def test_a_change_that_another_name_shows_is_refused(function, said):
    with pytest.raises(AusamError, match=said):
        convert(between(function, act=nn.ReLU(True), drop=nn.Dropout())())


def test_a_change_that_nobody_else_sees_stays_in_place():
    body = trace(between(lambda net, x: net.act(operator.iadd(net.c(x), x)), **_layers())())
    assert body.act.inplace
    assert operator.iadd in [node.target for node in body.graph.nodes]


def _layers():
    return dict(act=nn.ReLU(True), c=conv(8, 8))


def test_the_images_of_the_caller_stay():
    given = images(2)
    trace(nn.Sequential(nn.ReLU(True), conv(3, 8)))(given)
    assert torch.equal(given, images(2))


def test_in_8_bits_the_shortcut_is_behind_the_relu():
    torch.manual_seed(0)
    model = Between(between=lambda net, x: net.block(x), modules=dict(block=PreActivation())).eval()
    network = quantize(model, images(), Policy(8, 8))
    calibrate(network, images())
    expected = model(images())
    error = (lower(network.eval())(images()) - expected).abs().max()
    assert error < 0.05 * expected.abs().max()
