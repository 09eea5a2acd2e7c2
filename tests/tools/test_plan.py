"""A budget of time becomes a number of epochs, and everything in the run keeps its share."""

import _plan
import pytest
import torch
from _common import ROOT, load_config
from _plan import Plan, choose, expected_score, fit, measure, read_plan, write_plan

from ausam_core.errors import AusamError

MINI = ROOT / "configs/simcc_mpii_ausam_mini.py"


@pytest.fixture
def cfg():
    return load_config(MINI)


@pytest.mark.parametrize(
    ("minutes", "epochs"),
    [(0.1, 1), (1.05, 1), (2, 3), (6, 13), (17.9, 43), (18.95, 46), (999, 46)],
)
def test_as_many_epochs_as_fit_at_least_one_at_most_all(cfg, minutes, epochs):
    # 24 s an epoch; 24 s more for the first, which trains every image, and 8 s of evaluations
    plan = choose(cfg, speed=62.5, minutes=minutes, images=1500, val_images=150)
    assert (plan.epochs, plan.of) == (epochs, 46)
    assert plan.minutes == pytest.approx((24 * epochs + 32) / 60, abs=0.01)
    assert plan.minutes <= minutes or epochs == 1


def test_the_sentence_says_what_is_measured_and_how_to_get_all():
    text = Plan(17, 46, 62.4, 6.1).sentence(expected="about 14")
    assert text == (
        "this machine: 62 images/s; training 17 of 46 epochs, about 6 minutes, PCKh@0.5 about 14 "
        "to be expected; --epochs 46 for all"
    )
    assert Plan(46, 46).sentence() == "training all 46 epochs"


@pytest.mark.parametrize("epochs", [1, 2, 3, 17, 45, 46, 60])
def test_the_learning_rate_runs_through_its_whole_curve_in_any_length(cfg, epochs):
    fit(cfg, epochs, steps=47)
    rates = rates_of(cfg, epochs, 47)
    assert len(rates) == 47 * epochs
    peak = max(rates)
    assert peak == pytest.approx(3e-3, rel=0.02)
    assert rates[0] < 0.05 * peak and rates[-1] < 0.01 * peak
    assert rates.index(peak) == pytest.approx(47 * epochs * 3 / 46, abs=2)


def rates_of(cfg, epochs: int, steps: int) -> list[float]:
    """The learning rate of every iteration, by MMEngine's own schedulers."""
    from mmengine.optim import OptimWrapper
    from mmengine.registry import PARAM_SCHEDULERS

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-3)
    wrapper = OptimWrapper(optimizer)
    schedulers = [
        PARAM_SCHEDULERS.build(
            dict(s, convert_to_iter_based=True),
            default_args=dict(optimizer=wrapper, epoch_length=steps),
        )
        for s in cfg.param_scheduler
    ]
    rates = []
    for _ in range(epochs * steps):
        rates.append(optimizer.param_groups[0]["lr"])
        wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


@pytest.mark.parametrize("epochs", [1, 4, 17, 46])
def test_a_run_is_evaluated_and_saved_a_few_times_and_at_its_end(cfg, epochs):
    fit(cfg, epochs, steps=47)
    assert cfg.train_cfg.max_epochs == epochs
    interval = cfg.train_cfg.val_interval
    assert interval == cfg.default_hooks.checkpoint.interval
    assert 1 <= -(-epochs // interval) <= _plan.EVALUATIONS


def test_all_epochs_leave_the_schedule_as_it_is(cfg):
    before = load_config(MINI).param_scheduler
    fit(cfg, 46, steps=47)
    assert cfg.param_scheduler == before


def test_a_schedule_in_whole_epochs_is_refused(cfg):
    cfg.param_scheduler = [dict(type="MultiStepLR", milestones=[30], by_epoch=True)]
    with pytest.raises(AusamError, match="MultiStepLR cannot be shortened.*--epochs 46"):
        fit(cfg, 17, steps=47)


@pytest.mark.parametrize(
    ("epochs", "words"),
    [(3, "below 8"), (4, "about 8"), (8, "about 10"), (16, "about 12"), (17, "12 or more")],
)
def test_the_expected_score_lies_between_the_measured_ones(epochs, words):
    assert expected_score(epochs, {4: 8.0, 16: 12.0}) == words
    assert expected_score(epochs, {}) is None


def test_one_measured_length_is_enough_to_say_something():
    assert [expected_score(n, {6: 15.0}) for n in (5, 6, 7)] == [
        "below 15",
        "about 15",
        "15 or more",
    ]


def test_a_plan_is_kept_and_a_damaged_one_named(tmp_path):
    assert read_plan(tmp_path) is None
    write_plan(Plan(17, 46, 62.4, 6.1), tmp_path)
    assert read_plan(tmp_path) == Plan(17, 46, 62.4, 6.1)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(AusamError, match="plan.json is damaged"):
        read_plan(tmp_path)


def test_measuring_trains_a_few_real_steps_and_leaves_nothing(cfg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = cfg.pretty_text
    cfg.train_dataloader.update(batch_size=4, num_workers=0)
    cfg.train_dataloader.pop("persistent_workers")
    shape = cfg.to_dict()
    speed = measure(cfg)
    assert 0 < speed < 1e6
    assert cfg.to_dict() == shape and before and not list(tmp_path.iterdir())


def test_too_few_images_to_measure_are_named(cfg):
    cfg.train_dataloader.update(num_workers=0)
    cfg.train_dataloader.pop("persistent_workers")
    cfg.train_dataloader.dataset.indices = 32
    with pytest.raises(AusamError, match="too few to measure"):
        measure(cfg)
