"""When, and how the budget of a step is split, in a plain loop."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from ausam_core import (
    MSAM,
    SAM,
    AusamError,
    EL2NSelection,
    ForwardRecord,
    GradientNormSelection,
    SelectiveBatchSampler,
    UniformSelection,
    el2n,
)

G = torch.Generator().manual_seed(0)
DATA = TensorDataset(torch.randn(64, 5, generator=G), torch.randint(3, (64,), generator=G))


def train(selection, epochs=4, cls=SAM, **settings):
    """Returns (trained, size) of each batch, the method and the model."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    sampler = SelectiveBatchSampler(RandomSampler(DATA), 16, selection)
    sampler.begin_run(epochs)
    loader = DataLoader(DATA, batch_sampler=sampler)
    method = cls(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), model, **settings)
    method.begin_run(epochs, epochs * len(loader))
    seen = []
    for _ in range(epochs):
        for batch, (x, y) in sampler.over(loader):

            def closure(subset=slice(None), x=x, y=y):
                outputs = model(x[subset])
                losses = F.cross_entropy(outputs, y[subset], reduction="none")
                return ForwardRecord(losses.mean(), losses, error=el2n(outputs, y[subset]))

            sampler.record(batch, method.step(closure, batch=batch))
            seen.append((len(batch), batch.size))
    return seen, method, model


@pytest.mark.parametrize("selection", [GradientNormSelection, UniformSelection, EL2NSelection])
def test_a_late_start_costs_what_the_base_optimizer_costs(selection):
    seen, method, _ = train(selection(64, start=0.5), start=0.5)
    assert seen == [(16, 16)] * 8 + [(8, 16)] * 8
    assert method.cost.passes == 16 * 16


def test_method_and_selection_begin_with_the_same_epoch():
    for share in (0.1, 0.3, 0.5, 0.9):
        selection = UniformSelection(64, start=share)
        seen, method, _ = train(selection, start=share, epochs=7)
        whole = sum(trained == size for trained, size in seen)
        # One pass of 16 before the border, two of 8 after it.
        assert whole == 4 * selection.first_epoch and method.cost.passes == 7 * 64


def test_three_quarters_kept_of_which_a_third_ascends_costs_one_pass_a_sample():
    seen, method, _ = train(UniformSelection(64, alpha=0.75), ascent=1 / 3)
    assert seen == [(12, 16)] * 16
    assert method.cost.forward == method.cost.backward == 16 * (4 + 12)


def test_ascending_by_all_is_sam_to_the_bit():
    ends = [
        torch.cat([p.detach().flatten() for p in train(UniformSelection(64), **s)[2].parameters()])
        for s in (dict(), dict(ascent=1.0), dict(ascent=0.5))
    ]
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])


def test_scores_come_from_samples_that_both_passes_saw():
    selection = GradientNormSelection(64, start_epoch=0)
    train(selection, epochs=1, ascent=0.25)
    assert selection.scores._count.sum() == 4 * 4


def test_momentum_sam_climbs_along_the_momentum_and_descends_there():
    torch.manual_seed(0)
    model = nn.Linear(5, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    method, seen = MSAM(optimizer, model, rho=0.5), []

    def closure():
        seen.append(model.weight.detach().clone())
        return model(DATA.tensors[0]).square().sum(1)

    method.step(closure)
    w = model.weight.detach().clone()
    momentum = [optimizer.state[p]["momentum_buffer"].clone() for p in model.parameters()]
    norm = torch.cat([m.flatten() for m in momentum]).norm()
    method.step(closure)
    torch.testing.assert_close(seen[1], w + 0.5 * momentum[0] / norm)


def test_momentum_sam_wants_momentum():
    model = nn.Linear(5, 1)
    method = MSAM(torch.optim.SGD(model.parameters(), lr=0.1), model)
    method.step(lambda: model(DATA.tensors[0]).square().sum(1))
    with pytest.raises(AusamError, match="SGD keeps none"):
        method.step(lambda: model(DATA.tensors[0]).square().sum(1))


def test_el2n_is_the_distance_of_prediction_and_target():
    scores = torch.tensor([[20.0, 0.0, 0.0], [0.0, 0.0, 20.0]])
    torch.testing.assert_close(el2n(scores, torch.tensor([0, 0])), torch.tensor([0.0, 2**0.5]))
    soft = F.one_hot(torch.tensor([0, 0]), 3).float()
    torch.testing.assert_close(el2n(scores, soft), el2n(scores, torch.tensor([0, 0])))
    joints = el2n(scores.expand(4, 2, 3).transpose(0, 1)[1:], torch.zeros(1, 4, dtype=torch.long))
    torch.testing.assert_close(joints, torch.tensor([8**0.5]))


def test_el2n_is_the_norm_of_the_gradient_at_the_class_scores():
    scores = torch.randn(6, 4, requires_grad=True)
    target = torch.randint(4, (6,))
    F.cross_entropy(scores, target, reduction="sum").backward()
    torch.testing.assert_close(el2n(scores, target), scores.grad.norm(dim=1))


def test_el2n_without_scores_says_what_to_return():
    selection = EL2NSelection(64, start_epoch=0)
    model = nn.Linear(5, 3)
    method = SAM(torch.optim.SGD(model.parameters(), lr=0.1), model)
    result = method.step(
        lambda: F.cross_entropy(model(DATA.tensors[0]), DATA.tensors[1], reduction="none")
    )
    with pytest.raises(AusamError, match="return ForwardRecord"):
        selection.record(range(64), result)


def test_with_importance_weights_the_step_is_weighted_in_both_passes():
    selection = GradientNormSelection(64, importance=True, start_epoch=0)
    _, method, model = train(selection)
    assert all(p.isfinite().all() for p in model.parameters())
    batch = selection.choose(list(range(16)), 1, torch.Generator().manual_seed(0))
    x, y = DATA.tensors[0][batch.indices], DATA.tensors[1][batch.indices]
    totals = []

    class Spy(SAM):
        def result(self, passes, first, second, *rest):
            totals.extend([first.total.detach(), second.total.detach()])
            return super().result(passes, first, second, *rest)

    spy = Spy(torch.optim.SGD(model.parameters(), lr=0.1), model)
    found = spy.step(lambda: F.cross_entropy(model(x), y, reduction="none"), batch=batch)
    for total, losses in zip(totals, (found.before, found.after), strict=True):
        torch.testing.assert_close(total, (losses * batch.weights.values).mean())
