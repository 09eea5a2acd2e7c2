"""What changes after a method was built is followed: layers, heads, tensors, normalisers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ausam_core import ESAM, GSAM, MESA, SAM, AusamError, LookSAM, RunningStatistics

X = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
Y = torch.randint(3, (16,), generator=torch.Generator().manual_seed(1))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def losses_of(model):
    return lambda: F.cross_entropy(model(X), Y, reduction="none")


def moved_by(method, model):
    """Names of the parameters that a climb moves."""
    F.cross_entropy(model(X), Y).backward()
    ids = {id(p) for p in method.perturbation.parameters()}
    model.zero_grad()
    return [name for name, p in model.named_parameters() if id(p) in ids]


def test_a_replaced_normaliser_is_frozen_in_pass_two():
    model = network()
    optimizer = sgd(model.parameters())
    method = SAM(optimizer, model)
    method.step(losses_of(model))
    model[1] = nn.BatchNorm1d(8)
    optimizer.add_param_group({"params": model[1].parameters()})
    for _ in range(3):
        method.step(losses_of(model))
    assert model[1].num_batches_tracked == 3


def test_a_converted_normaliser_is_frozen_in_pass_two():
    model = network()
    method = SAM(sgd(model.parameters()), model)
    model[1] = nn.SyncBatchNorm.convert_sync_batchnorm(model[1])
    assert isinstance(model[1], nn.SyncBatchNorm)
    with method.statistics.frozen():
        assert not model[1].track_running_stats
    assert model[1].track_running_stats


def test_a_swapped_head_is_excluded_by_its_name():
    model = network()
    optimizer = sgd(model.parameters())
    method = SAM(optimizer, model, exclude=[r"^3\."])
    assert moved_by(method, model) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    model[3] = nn.Linear(8, 3)
    optimizer.add_param_group({"params": model[3].parameters()})
    assert moved_by(method, model) == ["0.weight", "0.bias", "1.weight", "1.bias"]


@pytest.mark.parametrize("cls", [SAM, GSAM, LookSAM, ESAM])
def test_a_tensor_that_grew_is_trained_on(cls):
    model = network()
    settings = dict(gamma=1.0) if cls is ESAM else {}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    method = cls(optimizer, model, **settings)
    for _ in range(2):
        method.step(losses_of(model))
    model[3].weight.data = torch.cat([model[3].weight.data, torch.zeros(1, 8)])
    model[3].bias.data = torch.cat([model[3].bias.data, torch.zeros(1)])
    before = model[3].weight.detach().clone()
    for _ in range(4):
        assert method.step(losses_of(model)).finite
    assert model[3].weight.shape == (4, 8) and not torch.equal(model[3].weight, before)


@pytest.mark.parametrize("cls", [SAM, GSAM, LookSAM])
def test_a_model_that_changed_its_dtype_is_trained_on(cls):
    model = network()
    method = cls(torch.optim.SGD(model.parameters(), lr=0.1), model)
    method.step(losses_of(model))
    model.double()
    for _ in range(3):
        result = method.step(lambda: F.cross_entropy(model(X.double()), Y, reduction="none"))
    assert result.finite and model[0].weight.dtype == torch.float64
    assert result.grad_norm.dtype == torch.float64


def test_mesa_says_that_its_average_no_longer_fits():
    from ausam_core import ForwardRecord

    model = network()
    method = MESA(sgd(model.parameters()), model)
    model[3] = nn.Linear(8, 5)

    def closure():
        outputs = model(X)
        losses = F.cross_entropy(outputs, Y, reduction="none")
        return ForwardRecord(losses.mean(), losses, outputs)

    with pytest.raises(AusamError, match="build the method after the model is as it will stay"):
        method.step(closure)


def test_the_largest_learning_rate_of_gsam_is_the_schedulers():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    method = GSAM(optimizer, model, rho=0.2, rho_min=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2.0, total_steps=10)
    radii = []
    for _ in range(4):
        method.step(losses_of(model))
        radii.append(method.perturbation.rho)
        schedule.step()
    assert max(radii) == pytest.approx(0.2, abs=1e-3) and min(radii) < 0.15


class Counting(nn.Module):
    """A layer of one's own that keeps a statistic under a name of its own."""

    def __init__(self, replace=False):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("table", torch.arange(5.0))
        self.replace = replace

    def forward(self, x):
        if self.training and self.replace:
            self.seen = self.seen + 1
        elif self.training:
            self.seen += 1
        return x


class OwnBatchNorm(nn.BatchNorm1d):
    """One that does not look at the flag."""

    def forward(self, x):
        if self.training:
            with torch.no_grad():
                self.running_mean += x.mean(0)
        return x


NORMALISERS = {
    "BatchNorm": lambda: nn.BatchNorm1d(4),
    "BatchNorm without momentum": lambda: nn.BatchNorm1d(4, momentum=None),
    "InstanceNorm": lambda: nn.Sequential(
        nn.Unflatten(1, (4, 1)), nn.ConstantPad1d(1, 0.5), nn.InstanceNorm1d(4,
        track_running_stats=True), nn.Flatten(), nn.Linear(12, 4)
    ),
    "spectral normalisation": lambda: spectral_norm(nn.Linear(4, 4)),
    "a statistic of its own": Counting,
    "a statistic that is replaced": lambda: Counting(replace=True),
    "a BatchNorm of its own": lambda: OwnBatchNorm(4),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMALISERS)
def test_whatever_a_layer_calls_its_statistics_they_move_once_a_step(name):
    def make():
        torch.manual_seed(0)
        return nn.Sequential(NORMALISERS[name](), nn.Linear(4, 3))

    model, once = make(), make()
    method = SAM(torch.optim.SGD(model.parameters(), lr=0.0), model, rho=0.5)
    for _ in range(2):
        method.step(losses_of(model))
        losses_of(once)()
    for (key, a), b in zip(model.named_buffers(), once.buffers(), strict=True):
        assert torch.equal(a, b), key
    if list(model.buffers()):
        start = dict(make().named_buffers())
        assert any(not torch.equal(b, start[k]) for k, b in model.named_buffers())


def test_buffers_that_no_pass_moves_are_not_copied(monkeypatch):
    model = nn.Sequential(Counting(), nn.Linear(4, 3))
    model[0].eval()
    cloned = []
    original = torch.Tensor.clone
    monkeypatch.setattr(torch.Tensor, "clone", lambda t, **k: cloned.append(t) or original(t, **k))
    method = SAM(torch.optim.SGD(model.parameters(), lr=0.1), model)
    method.step(losses_of(model))
    assert not any(t is model[0].table for t in cloned)


def test_frozen_by_itself_keeps_every_buffer():
    model = nn.Sequential(Counting(replace=True), OwnBatchNorm(4), nn.BatchNorm1d(4))
    before = {k: b.clone() for k, b in model.named_buffers()}
    with RunningStatistics(model).frozen():
        model(X)
    assert all(torch.equal(b, before[k]) for k, b in model.named_buffers())
