"""tools/study.py: a schedule of a run of another length has the same shape."""

import mmengine.optim  # noqa: F401  registers the schedules
import pytest
import torch
from _study.config import configure
from _study.schedule import stretch
from _study.study import load_study
from mmengine.registry import PARAM_SCHEDULERS

from ausam_core.errors import AusamError
from tests.tools.study_cases import CONFIG, write_study

EPOCHS = 120

SCHEDULES = {
    "constant": dict(type="ConstantLR", factor=0.5, begin=0, end=60),
    "cosine": dict(type="CosineAnnealingLR", T_max=120),
    "exponential": dict(type="ExponentialLR", gamma=0.97),
    "linear": dict(type="LinearLR", start_factor=0.1, begin=0, end=40),
    "milestones": dict(type="MultiStepLR", milestones=[60, 90]),
    "one cycle": dict(type="OneCycleLR", eta_max=1.0, total_steps=120),
    "poly": dict(type="PolyLR", power=2.0),
    "restarts": dict(
        type="CosineRestartLR", periods=[40, 80], restart_weights=[1, 0.5], eta_min=0.0
    ),
    "steps": dict(type="mmengine.StepLR", step_size=30),
}


def rates(config: dict, epochs: int) -> list[float]:
    """Learning rate of each epoch."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    config = {"end": epochs, **config}
    schedule = PARAM_SCHEDULERS.build(config, default_args=dict(optimizer=optimizer))
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("epochs", [60, 240])
def test_the_rate_is_the_same_at_the_same_share_of_the_run(schedule, epochs):
    whole = rates(schedule, EPOCHS)
    other = rates(stretch(schedule, epochs, EPOCHS, "config.py"), epochs)
    apart = [abs(other[i] - whole[int(i * EPOCHS / epochs)]) for i in range(epochs)]
    # An epoch more or less of a slope, and of a jump one epoch at each.
    assert sum(apart) / epochs < 0.03
    assert stretch(schedule, EPOCHS, EPOCHS, "config.py") == schedule


def test_steps_of_no_whole_size_are_as_many_as_before():
    steps = dict(type="StepLR", step_size=30, gamma=0.1)
    short = stretch(steps, 10, 90, "config.py")  # every 3 epochs there would be a third
    assert short == dict(type="MultiStepLR", milestones=[3, 7], gamma=0.1)
    by_iteration = dict(steps, by_epoch=False, step_size=3_000)
    assert stretch(by_iteration, 10, 90, "config.py")["step_size"] == 333


def test_restarts_do_not_outlast_the_run():
    restarts = dict(type="CosineRestartLR", periods=[5, 5, 5, 5])
    assert sum(stretch(restarts, 14, 20, "config.py")["periods"]) == 14


@pytest.mark.parametrize("epochs", [EPOCHS, 60])
def test_a_schedule_that_follows_evaluations_is_refused(epochs):
    with pytest.raises(AusamError, match="config.py has the schedule ReduceOnPlateauLR"):
        stretch(dict(type="ReduceOnPlateauLR", monitor="loss"), epochs, EPOCHS, "config.py")


def test_a_schedule_that_nobody_knows_is_refused_where_it_would_change():
    own = dict(type="WavesLR", wavelength=7)
    assert stretch(own, EPOCHS, EPOCHS, "config.py") == own
    with pytest.raises(AusamError, match="schedule WavesLR, of which a run of 60 epochs"):
        stretch(own, 60, EPOCHS, "config.py")


def test_a_schedule_alone_is_a_list_of_one(tmp_path):
    text = CONFIG + 'param_scheduler = dict(_delete_=True, type="ExponentialLR", gamma=0.5)\n'
    study = load_study(write_study(tmp_path, config=text))
    (only,) = configure(study, study.arms["sgd"], 0).param_scheduler
    assert only.gamma == pytest.approx(0.5**50)  # 4 epochs of 200


def test_a_run_of_iterations_is_refused(tmp_path):
    text = CONFIG + "train_cfg = dict(_delete_=True, by_epoch=False, max_iters=100)\n"
    study = load_study(write_study(tmp_path, config=text))
    with pytest.raises(AusamError, match="does not train by epochs .*max_iters=100"):
        configure(study, study.arms["sgd"], 0)
