"""What has no integer form is refused before it is trained: layer or operation, and a remedy."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ausam_core.errors import AusamError
from tasks.qat import Policy, calibrate, convert, quantize
from tests.tasks.qat.cases import Between, NormAct, behind, between, conv
from tests.tasks.qat.nets import images

X = images(2)


class Norm(nn.Module):
    def __init__(self, kind, *args):
        super().__init__()
        self.norm, self.fc = kind(*args), nn.Linear(8, 10)
        self.conv = conv(3, 8)

    def forward(self, x):
        return self.fc(self.norm(self.conv(x)).mean([2, 3]))


class OwnWeight(Between):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return super().forward(x) * self.scale


class TwoInputs(Between):
    def forward(self, x, y):
        return super().forward(x) + y


class Nested(Between):
    def forward(self, x):
        return {"scores": [super().forward(x)]}


class Named(Between):
    def __init__(self, *names):
        super().__init__()
        self.names = names

    def forward(self, x):
        scores = super().forward(x)
        return dict.fromkeys(self.names, scores)


class Pieces(Between):
    def forward(self, x):
        return super().forward(x).chunk(2, 1)


class Sized(Between):
    def forward(self, x):
        return super().forward(x), x.size(0)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.attention = conv(3, 8), nn.MultiheadAttention(8, 2)

    def forward(self, x):
        x = self.conv(x).flatten(2).permute(2, 0, 1)
        return self.attention(x, x, x)[0]


def rows(function, features):
    return behind(lambda n, x: function(x.flatten(2)).flatten(1), features)


ROWS = r"has no integer form over \[N, 8, 144\]; it takes maps, \[N, C, H, W\]"
AT_ONCE = {
    "softmax": (
        behind(lambda n, x: x.mean([2, 3]).softmax(1)),
        r"softmax \(at .*leave it to the loss",
    ),
    "sort": (between(lambda n, x: torch.sort(x)[0]), r"sort \(at sort\) has no integer form; take"),
    "matmul": (between(lambda n, x: torch.matmul(x, x)), "matmul .*multiplies activations"),
    "unknown argument": (
        between(lambda n, x: torch.mean(x, dim=1, keepdim=True, dtype=torch.float64)),
        r"call of mean at mean has no integer form \(.*dtype.*known as mean\(input, dim",
    ),
    "norm without statistics": (
        lambda: Norm(nn.BatchNorm2d, 8, 1e-5, 0.1, True, False),
        r"layer norm \(BatchNorm2d\) keeps no running statistics.*track_running_stats=True",
    ),
    "group norm": (lambda: Norm(nn.GroupNorm, 2, 8), r"layer norm \(GroupNorm\).*take BatchNorm2d"),
    "layer norm": (lambda: Norm(nn.LayerNorm, [8, 12, 12]), r"norm \(LayerNorm\).*BatchNorm2d"),
    "prelu": (lambda: Norm(nn.PReLU), r"layer norm \(PReLU\).*take ReLU, or LeakyReLU"),
    "transposed": (lambda: Norm(nn.ConvTranspose2d, 8, 8, 3), r"\(ConvTranspose2d\).*nearest"),
    "lazy": (lambda: Norm(nn.LazyConv2d, 8, 3), r"\(LazyConv2d\) has no weights yet; run the net"),
    "circular padding": (
        between(lambda n, x: n.c(x), c=conv(8, 8, padding_mode="circular")),
        "layer c pads with circular; only zero padding",
    ),
    "own weight": (OwnWeight, "OwnWeight uses scale outside a layer"),
    "attention": (Attention, r"layer attention \(MultiheadAttention\).*multiplies activations"),
    "two inputs": (TwoInputs, "TwoInputs must take one tensor"),
    "nested outputs": (Nested, "Nested must return a tensor, or a tuple, list or dict of tensors"),
    "the name of the input": (lambda: Named("images"), "returns 'images', a name that its input"),
    "names that are alike": (lambda: Named("1", 1), "returns '1', a name that another output has"),
}
AT_THE_SIZE = {
    "always dropout": (between(lambda n, x: F.dropout(x, 0.5, True)), "drops in evaluation too"),
    "mean of channels": (between(lambda n, x: x - x.mean(1, keepdim=True)), "but over height or"),
    "uneven upsampling": (between(lambda n, x: F.interpolate(x, size=(15, 15))), "whole factor"),
    "bilinear": (between(lambda n, x: F.interpolate(x, None, 2.0, "bilinear")), 'mode="nearest"'),
    "a factor that comes out whole by luck": (
        between(lambda n, x: F.interpolate(x[:, :, :4, :4], scale_factor=3.1)),
        r"interpolate \(at interpolate\) has no integer form by the factor 3.1; take a whole",
    ),
    "another type": (between(lambda n, x: x.to(torch.int32).float()), "torch.int32, which rounds"),
    "half": (
        between(lambda n, x: x.to(dtype=torch.bfloat16).float()),
        "with torch.bfloat16, which rounds",
    ),
    "pieces": (
        Pieces,
        r"the output logits \(chunk\) is no tensor; return tensors alone, each part of a chunk",
    ),
    "a size": (Sized, r"the output output_1 \(size\) is no tensor"),
    "average over rows": (rows(lambda x: F.avg_pool2d(x, 2), 288), ROWS),
    "adaptive average over rows": (rows(lambda x: F.adaptive_avg_pool2d(x, 2), 4), ROWS),
    "maximum over rows": (rows(lambda x: F.max_pool2d(x, 2), 288), ROWS),
    "adaptive maximum over rows": (rows(lambda x: F.adaptive_max_pool2d(x, 2), 4), ROWS),
    "upsampled rows": (rows(lambda x: F.interpolate(x, scale_factor=2), 2304), ROWS),
    "reflection": (between(lambda n, x: F.pad(x, (1, 1, 1, 1), "reflect")), "but with a constant"),
    "a mixed batch": (between(lambda n, x: x.reshape(1, -1, 12, 12)[:, :8]), "mixes the samples"),
    "cat of batches": (between(lambda n, x: torch.cat([x, x])), "mixes the samples"),
    "floor": (
        between(lambda n, x: torch.div(x, 0.3, rounding_mode="floor")),
        "rounding_mode='floor'",
    ),
    "an index": (behind(lambda n, x: x[:, :, 0, 0]), "but with slices"),
}


@pytest.mark.parametrize("name", AT_ONCE)
def test_convert_refuses_at_once_what_no_size_of_images_can_mend(name):
    build, said = AT_ONCE[name]
    with pytest.raises(AusamError, match=said):
        convert(build())


@pytest.mark.parametrize("begin", ["quantize", "calibrate"])
@pytest.mark.parametrize("name", AT_THE_SIZE)
def test_what_depends_on_sizes_is_refused_with_the_first_images(name, begin):
    build, said = AT_THE_SIZE[name]
    with pytest.raises(AusamError, match=said):
        if begin == "quantize":
            quantize(build(), X)
        else:
            calibrate(convert(build()), [X])


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (Between, (2, 4, 12, 12)),
        (lambda: nn.Sequential(nn.BatchNorm2d(3), conv(3, 8)), (3, 12, 12)),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(432, 8)), (2, 3, 8, 8)),
    ],
)
def test_an_example_of_the_wrong_size_is_refused_in_one_line(build, shape):
    said = re.escape(f"does not run on an input of shape {list(shape[1:])} (")
    with pytest.raises(AusamError, match=said) as refused:
        quantize(build(), torch.zeros(shape))
    assert "\n" not in str(refused.value) and "executing" not in str(refused.value)


def test_ends_in_floating_point_train_and_are_refused_by_the_export_alone():
    from tasks.qat.deploy.lower import lower

    network = quantize(Between(), X, Policy(first_last="fp"))
    calibrate(network, [X])
    with pytest.raises(AusamError, match="layer a is in floating point"):
        lower(network)


def test_ends_in_floating_point_that_leave_nothing_are_refused():
    with pytest.raises(AusamError, match="leaves this network no layer"):
        convert(nn.Sequential(conv(3, 8), nn.ReLU()), Policy(first_last="fp"))


class PadsBySize(nn.Conv2d):
    """As the convolutions of timm's tf_ networks."""

    def forward(self, x):
        return super().forward(F.pad(x, (0, max(0, 3 - x.size(3)), 0, 0)))


class Standardised(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(x, self.weight - self.weight.mean(), self.bias)


class Frozen(nn.BatchNorm2d):
    def forward(self, x):
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (PadsBySize(3, 4, 3), r", in 0, a PadsBySize\);.* pads by the size.*timm with pad_type=''"),
        (Standardised(3, 4, 3), "uses 0.weight outside a layer"),
        (Frozen(3), "uses 0.weight outside a layer"),
    ],
)
def test_a_layer_that_is_more_than_its_base_class_is_not_taken_for_it(layer, said):
    with pytest.raises(AusamError, match=said):
        convert(nn.Sequential(layer, nn.Conv2d(layer.weight.shape[0], 2, 1)))


def test_tracing_counts_no_batch_and_leaves_no_assertion():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), NormAct(4))
    body = convert(network).body
    assert int(body.get_submodule("1").num_batches_tracked) == 0
    # what the assertion looks at is gone too: BatchNorm alone reads the convolution
    assert [len(node.users) for node in body.graph.nodes if node.target == "0"] == [1]
