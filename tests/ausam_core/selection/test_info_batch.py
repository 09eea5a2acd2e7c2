"""InfoBatch: fewer batches, heavier samples, the same expected gradient."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, SequentialSampler

from ausam_core import SAM, AusamError, Base, InfoBatchSelection, SelectiveBatchSampler

N, K = 40, 8


def make(**settings):
    selection = InfoBatchSelection(N, epochs=8, **settings)
    return SelectiveBatchSampler(SequentialSampler(range(N)), K, selection)


def train(batches, epoch, method=None, losses=None):
    """One epoch in which the loss of sample i is i, or what ``losses`` says."""
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    method = (method or Base)(optimizer, model)
    batches.set_epoch(epoch)
    seen = []
    for planned, indices in over(batches):
        seen.append(planned)
        value = torch.tensor([float(i) for i in indices]) if losses is None else losses(indices)
        result = method.step(lambda: value + 0 * model(torch.ones(1, 1)).sum(), batch=planned)  # noqa: B023
        batches.record(planned, result)
    return seen


def over(batches):
    return batches.over(DataLoader(range(N), batch_sampler=batches, collate_fn=list))


def test_the_first_epoch_is_whole_and_unweighted():
    seen = train(make(), 0)
    assert [len(b.indices) for b in seen] == [K] * 5 and all(b.weights is None for b in seen)


def test_half_of_the_easy_samples_are_left_out_and_the_others_weigh_double():
    batches = make(r=0.5)
    train(batches, 0)
    seen = train(batches, 1)
    indices = [i for b in seen for i in b.indices]
    weights = torch.cat([b.weights.values for b in seen])
    easy = [i for i in indices if i < 19.5]
    assert set(range(20, N)) <= set(indices) and len(easy) == 10
    assert [w == 2 for w in weights] == [i < 19.5 for i in indices]
    assert float(weights.sum()) == N


def test_batches_stay_full_and_there_are_fewer_of_them():
    batches = make()
    train(batches, 0)
    seen = train(batches, 1)
    assert [len(b.indices) for b in seen] == [8, 8, 8, 6] and len(batches) == 4
    assert sum(b.size for b in seen) == pytest.approx(N, abs=2)


def test_the_last_part_of_the_run_leaves_nothing_out():
    batches = make(delta=0.4)  # 3.2 epochs: public code never resets its weights then
    for epoch in range(4):
        seen = train(batches, epoch)
        assert (len(seen) < 5) == (1 <= epoch <= 3)
    assert all(b.weights is None for b in train(batches, 4))


def test_the_expected_gradient_is_that_of_all_samples():
    """Over many epochs every sample counts 1 on average."""
    batches, total = make(), torch.zeros(N)
    batches.selection.epochs = 10_000
    train(batches, 0)
    for epoch in range(1, 400):
        batches.set_epoch(epoch)
        for planned in batches.selection.plan(range(N), K, False, epoch, gen(epoch)):
            total[planned.indices] += planned.weights.values
    assert (total / 399 - 1).abs().max() < 0.2


def gen(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("loss", ["before", "after"])
def test_weights_act_on_the_loss_they_are_meant_for(loss):
    """SAM+Info* weighs the first loss, SAM+Info the second."""
    batches = make(loss=loss)
    train(batches, 0, SAM)
    batches.set_epoch(1)
    planned, indices = next(over(batches))
    model = nn.Linear(1, 1, bias=False)
    seen = {}

    class Spy(SAM):
        def first_pass(self, passes):
            record = super().first_pass(passes)
            seen["before"] = record.total
            return record

        def descend(self, passes):
            record = super().descend(passes)
            seen["after"] = record.total
            return record

    values = torch.tensor([float(i) for i in indices])
    Spy(torch.optim.SGD(model.parameters(), lr=0.0), model).step(
        lambda: values + 0 * model(torch.ones(1, 1)).sum(), batch=planned
    )
    weighted, plain = (values * planned.weights.values).mean(), values.mean()
    other = "after" if loss == "before" else "before"
    torch.testing.assert_close(seen[loss], weighted)
    torch.testing.assert_close(seen[other], plain)


def test_forgetting_to_give_the_batch_to_the_step_is_noticed():
    batches = make()
    train(batches, 0)
    batches.set_epoch(1)
    planned, _ = next(over(batches))
    model = nn.Linear(1, 1)
    step = Base(torch.optim.SGD(model.parameters(), lr=0.1), model).step
    with pytest.raises(AusamError, match="batch=batch"):
        batches.record(planned, step(lambda: model(torch.ones(K, 1)).square().sum(1)))


def test_a_loss_after_needs_a_method_that_perturbs():
    with pytest.raises(AusamError, match='use loss="before"'):
        train(make(loss="after"), 0, Base)


def test_it_is_resumed_to_the_bit(tmp_path):
    whole = make()
    train(whole, 0), train(whole, 1)
    torch.save(whole.state_dict(), tmp_path / "s.pt")
    resumed = make()
    resumed.load_state_dict(torch.load(tmp_path / "s.pt", weights_only=True))
    for a, b in zip(train(whole, 2), train(resumed, 2), strict=True):
        assert a.indices == b.indices and torch.equal(a.weights.values, b.weights.values)


def test_it_cannot_choose_within_a_batch():
    with pytest.raises(AusamError, match="plans whole epochs"):
        make().selection.select(torch.arange(4), 0, gen(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(r=1.0), r"in \[0, 1\); found 1.0"),
        (dict(delta=2), "share of the epochs"),
        (dict(loss="both"), "found 'both'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(AusamError, match=message):
        make(**settings)
