"""tools/study.py: what is asked, equal budgets, records, mistakes. Runs: test_study_runs.py."""

import json
from dataclasses import replace

import pytest
from _common import load_config
from _study.budget import epochs_for, passes_of_run
from _study.config import configure, digest_of
from _study.record import Record, path_of, read_records, write_record
from _study.runs import alone_in
from _study.study import Arm, load_study

from ausam_core.errors import AusamError
from tests.tools.study_cases import CONFIG, ROOT, STUDY, write_study

SAM = dict(type="SAM", rho=0.1)
HALF = dict(type="UniformSelection", alpha=0.5)
AUSAM = dict(type="GradientNormSelection", alpha=0.5)
STUDIES = sorted(path for path in (ROOT / "studies").glob("*.py"))


@pytest.fixture
def study(tmp_path):
    return load_study(write_study(tmp_path))


def record_of(study, arm="sgd", seed=0, **given) -> Record:
    """A record as a run would have left it."""
    cfg = configure(study, study.arms[arm], seed)
    values = dict(
        arm=arm,
        seed=seed,
        digest=digest_of(cfg),
        settings=json.loads(json.dumps(study.arms[arm].settings)),
        epochs=cfg.train_cfg.max_epochs,
        passes=400.0,
        score=50.0,
        training_score=60.0,
        training_loss=1.0,
        sharpness=0.1,
        rho=0.05,
        seconds=1.0,
        versions={"torch": "2"},
        metric=study.metric,
    )
    return Record(**{**values, **given})


@pytest.mark.parametrize(
    ("arm", "passes"),
    [
        # 130 samples in batches of 64, 64, 2; 10 epochs
        (Arm("sgd"), 1300),
        (Arm("msam", method=dict(type="MSAM")), 1300),
        (Arm("sam", method=SAM), 2600),
        (Arm("gsam", method=dict(type="GSAM")), 2600),
        (Arm("looksam", method=dict(type="LookSAM", k=5)), 1560),
        (Arm("ksam", method=dict(type="KSAM", gamma=0.5)), 10 * (130 / 3 + 2 * (32 + 32 + 2))),
        (Arm("random half", method=SAM, selection=HALF), 10 * 2 * (32 + 32 + 2)),
        (Arm("ausam", method=SAM, selection=AUSAM), 2 * 130 + 9 * 2 * (32 + 32 + 2)),
        (Arm("late", method=SAM, start=0.75), 8 * 130 + 2 * 260),
        (Arm("late ausam", method=SAM, start=0.5, selection=AUSAM), 5 * 130 + 5 * 2 * 66),
        (
            Arm(
                "split",
                method=dict(type="SAM", ascent=1 / 3),
                selection=dict(type="UniformSelection", alpha=0.75),
            ),
            10 * (2 * (48 + 16) + 2 + 2),
        ),
        (Arm("own", method=dict(type="AESAM"), cost=1.5), 1950),
        (Arm("own, late", method=dict(type="AESAM"), cost=1.5, start=0.5), 650 + 975),
    ],
    ids=lambda value: value.name if isinstance(value, Arm) else "",
)
def test_a_run_costs_what_its_steps_cost(arm, passes):
    assert passes_of_run(arm, samples=130, batch_size=64, epochs=10) == pytest.approx(passes)


@pytest.mark.parametrize("kind", ["method", "selection"])
def test_what_costs_an_unknown_number_of_passes_is_asked_for_its_cost(kind):
    config = dict(type="AESAM" if kind == "method" else "InfoBatchSelection")
    with pytest.raises(AusamError, match=f"the {kind} {config['type']} costs is not known.*cost="):
        passes_of_run(Arm("x", **{kind: config}), 100, 50, 3)


@pytest.mark.parametrize("times", [1.0, 2.0, 0.5])
@pytest.mark.parametrize(
    "arm",
    [Arm("sgd"), Arm("sam", method=SAM), Arm("ausam", method=SAM, selection=AUSAM)],
    ids=lambda arm: arm.name,
)
def test_epochs_spend_the_budget_to_half_an_epoch(study, arm, times):
    arm = replace(arm, times=times)
    epochs = epochs_for(replace(study, budget=16_000), arm, batch_size=50)
    spent = passes_of_run(arm, study.samples, 50, epochs)
    an_epoch = passes_of_run(arm, study.samples, 50, epochs + 1) - spent
    assert abs(spent - 16_000 * times) <= an_epoch / 2


def test_a_budget_too_small_for_an_epoch_is_refused(study):
    with pytest.raises(
        AusamError, match="150 sample passes, does not pay for one epoch of arm sam"
    ):
        configure(replace(study, budget=150), study.arms["sam"], 0)
    late = replace(study.arms["late"], start=0.9)
    with pytest.raises(AusamError, match="does not pay for the two epochs between .* of arm late"):
        configure(replace(study, budget=150), late, 0)
    assert configure(replace(study, budget=200), late, 0).train_cfg.max_epochs == 2


def test_the_schedule_is_stretched_to_the_epochs_of_the_arm(tmp_path):
    schedule = """
param_scheduler = [
    dict(type="LinearLR", begin=0, end=20, by_epoch=True),
    dict(type="CosineAnnealingLR", begin=20, end=200, T_max=180, by_epoch=True),
    dict(type="MultiStepLR", begin=0, end=200, milestones=[100, 150], by_epoch=True),
]
"""
    study = replace(load_study(write_study(tmp_path, config=CONFIG + schedule)), budget=8_000)
    cfg = configure(study, study.arms["sam"], 0)  # 40 epochs, a fifth of the config's 200
    assert cfg.train_cfg.max_epochs == cfg.train_cfg.val_interval == 40
    linear, cosine, steps = cfg.param_scheduler
    assert (linear.begin, linear.end) == (0, 4)
    assert (cosine.begin, cosine.end, cosine.T_max) == (4, 40, 36)
    assert (steps.end, steps.milestones) == (40, [20, 30])


def test_a_phase_of_the_schedule_that_shrinks_to_no_epoch_is_left_out():
    pose = load_study(ROOT / "studies/pose_lspet.py")
    short = configure(replace(pose, budget=2 * pose.samples), pose.arms["adam"], 0)
    (cosine,) = short.param_scheduler
    assert (cosine.type, cosine.begin, cosine.end) == ("CosineAnnealingLR", 0, 2)


def test_an_arm_is_entered_on_all_three_axes(study):
    cfg = configure(study, study.arms["late"], 7)
    assert cfg.optim_wrapper.method == SAM
    assert cfg.train_dataloader.batch_sampler.selection == AUSAM
    assert cfg.custom_hooks[-1] == dict(type="AUSAMHook", start=0.5)
    assert sum(hook["type"] == "AUSAMHook" for hook in cfg.custom_hooks) == 1
    assert cfg.randomness.seed == 7


def test_a_plain_optimizer_wrapper_gets_a_method():
    mini = load_study(ROOT / "studies/pose_lspet.py")
    cfg = configure(mini, mini.arms[mini.references[0]], 0)
    assert cfg.optim_wrapper.type == "SAMOptimWrapper"
    assert cfg.optim_wrapper.method == dict(type="Base")


def test_a_digest_is_of_the_configuration_and_not_of_the_machine(study):
    cfg = configure(study, study.arms["sam"], 0)
    digest = digest_of(cfg)
    cfg.work_dir = "/elsewhere"
    assert digest_of(cfg) == digest
    cfg.optim_wrapper.method.rho = 0.2
    assert digest_of(cfg) != digest


def test_a_record_comes_back_as_it_was(study):
    record = record_of(study, more={"wrong_labels_chosen": 40.0})
    write_record(study, record)
    assert read_records(study) == [record]
    assert [path.name for path in study.folder.iterdir()] == ["sgd-0.json"]


def test_a_record_that_does_not_say_its_metric_is_taken_as_it_is(study):
    write_record(study, record_of(study))
    path = path_of(study, "sgd", 0)
    said = json.loads(path.read_text())
    del said["metric"]
    path.write_text(json.dumps(said))
    assert read_records(study) == [record_of(study, metric=None)]


@pytest.mark.parametrize("keep", [0, 1, 100, 400])
def test_a_truncated_record_is_refused_by_name(study, keep):
    write_record(study, record_of(study))
    path = path_of(study, "sgd", 0)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(AusamError, match="sgd-0.json is truncated or no record"):
        read_records(study)


def test_a_record_of_another_configuration_is_refused_by_name(tmp_path):
    write_record(study := load_study(write_study(tmp_path)), record_of(study, "sam"))
    changed = load_study(write_study(tmp_path, STUDY.replace("rho=0.1", "rho=0.2")))
    with pytest.raises(AusamError, match=r"sam-0.json was made with another.*method was .*0\.1"):
        read_records(changed)
    other = load_study(write_study(tmp_path, STUDY.replace("top1", "top5")))
    with pytest.raises(AusamError, match="sam-0.json.*metric was accuracy/top1 and is .*/top5"):
        read_records(other)
    farther = load_study(write_study(tmp_path, STUDY + "rho = 0.1\n"))
    with pytest.raises(AusamError, match="sam-0.json.*rho, at which .*, was 0.05 and is 0.1"):
        read_records(farther)
    longer = load_study(write_study(tmp_path, STUDY.replace("4 * samples", "8 * samples")))
    with pytest.raises(AusamError, match="sam-0.json.*the config or the budget"):
        read_records(longer)


def test_a_record_of_an_arm_that_is_gone_is_refused_by_name(tmp_path):
    write_record(study := load_study(write_study(tmp_path)), record_of(study, "late"))
    fewer = load_study(write_study(tmp_path, STUDY.replace('"late"', '"later"')))
    with pytest.raises(AusamError, match="late-0.json is a record of arm late"):
        read_records(fewer)


@pytest.mark.parametrize("command", [["run"], ["one", "sgd", "0"]], ids=lambda argv: argv[0])
def test_only_one_run_of_a_study_is_at_work(tool, study, fails_with, command):
    name, *rest = command
    argv = [name, study.path, *rest, "--work-dir", study.folder / "work"]
    with alone_in(study.folder):
        said = fails_with(tool("study").main, *argv)
    assert "another run of this study is at work" in said
    assert not (study.folder / "work").exists()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("start=0.5", "starts=0.5", "arm late of .* has no setting starts; it may have label"),
        ('"SAM", rho', '"SAMM", rho', "arm sam of .*there is no method 'SAMM'"),
        ("rho=0.1", "radius=0.1", "SAM has no setting radius"),
        ("alpha=0.5", "alpha=1.5", "arm late of .*alpha"),
        ("start=0.5", "start=1.5", "start of arm late .* must be a share of the run.*found 1.5"),
        ("start=0.5", "times=-1", "times of arm late .* above 0, found -1"),
        ('"late":', '"late one":', "arm 'late one' .* letters, digits and underscores"),
        ("samples = 100", "", "cannot be read: NameError.*samples"),
        ('metric = "accuracy/top1"', "", "does not say metric"),
        ('["sgd", "sam"]', '["sgd", "adam"]', "references of .* names adam"),
        ("seeds =", "drawn = ['sams']; seeds =", "drawn of .* names sams, which is no arm"),
        ("seeds =", "place = -1; seeds =", "place of .* whole number of 0 or more, found -1"),
        ("seeds =", "headline = 'sams'; seeds =", "headline of .* names sams, which is no arm"),
        ("seeds =", "takes = 'sams'; seeds =", "takes of .* names sams, which is no arm"),
        ("seeds =", "chooses = 1; seeds =", "chooses of .* must be a string, found 1"),
    ],
)
def test_a_mistake_in_a_study_file_is_one_sentence(tmp_path, before, after, says):
    path = write_study(tmp_path, STUDY.replace(before, after))
    with pytest.raises(AusamError, match=says):
        load_study(path)


def test_a_study_says_what_it_asks(study):
    assert (study.title, study.text) == ("Does it run?", "On a handful of images.")
    assert study.name == "tiny" and study.seeds == [0, 1]


@pytest.mark.parametrize("option", ["train_cfg.max_epoch", "model.nett.width", "optim_wraper"])
def test_an_option_that_the_config_does_not_have_is_refused(study, option):
    arm = Arm("x", options={option: 1})
    with pytest.raises(AusamError, match=f"sets {option}, which .*config.py does not have"):
        configure(study, arm, 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"optim_wrapper.method.type": "SAM"}, "sets optim_wrapper.method.type, .* say method=…"),
        ({"optim_wrapper": dict(method=SAM)}, "sets optim_wrapper.method.type, .* say method=…"),
        ({"train_dataloader.batch_sampler": HALF}, "batch_sampler.type, .* say selection=…"),
        ({"randomness.seed": 3}, "sets randomness.seed, .* say seeds=… of the study"),
        ({"train_cfg.max_epochs": 3}, "sets train_cfg.max_epochs, .*times=… of the arm"),
        ({"train_cfg.val_interval": 3}, "sets train_cfg.val_interval, .* once, at the end"),
        ({"default_hooks.checkpoint.interval": 3}, "checkpoint.interval, .* once, at the end"),
        ({"default_hooks": dict(checkpoint=dict(save_best="auto"))}, "checkpoint.save_best"),
        ({"custom_hooks": [dict(type="AUSAMHook", rho=1)]}, "AUSAMHook.*say method=…"),
    ],
    ids=str,
)
def test_an_option_that_a_study_sets_itself_is_refused(study, options, says):
    with pytest.raises(AusamError, match=says):
        configure(study, Arm("x", options=options), 0)


@pytest.mark.parametrize("size", [0, 2.5])
def test_a_batch_size_that_is_none_is_refused(study, size):
    with pytest.raises(AusamError, match=f"train_dataloader.batch_size .* found {size}"):
        configure(study, Arm("x", options={"train_dataloader.batch_size": size}), 0)


def test_an_option_is_entered(study):
    arm = Arm("x", options={"model.net.width": 8, "param_scheduler.0.type": "ConstantLR"})
    cfg = configure(study, arm, 0)
    assert cfg.model.net.width == 8 and cfg.param_scheduler[0].type == "ConstantLR"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["run", "nowhere.py"], "study not found"),
        (["run", "STUDY", "--arms", "adam"], "no arm adam; it has sgd, sam, late"),
        (["run", "STUDY", "--workers", "0"], "--workers must be 1 or more"),
        (["run", "STUDY", "--seeds", "0", "-1"], "--seeds must be a whole number of 0 or more"),
        (["one", "STUDY", "sgd", "-1"], "SEED must be a whole number of 0 or more"),
        (["plot", "STUDY", "--out", "a.foo"], "the picture a.foo is of no kind that can be drawn"),
        (["report", "--out", "/proc/a/page.md"], "the page /proc/a/page.md cannot be written"),
        (["table", "STUDY"], "holds no records yet"),
        (["plot", "STUDY"], "holds no records yet"),
    ],
)
def test_a_mistake_at_the_command_line_is_one_sentence(tool, tmp_path, fails_with, argv, says):
    path = write_study(tmp_path)
    assert says in fails_with(tool("study").main, *[path if a == "STUDY" else a for a in argv])


def test_missing_data_is_said_before_anything_runs(tool, tmp_path, fails_with):
    path = write_study(tmp_path, config=CONFIG.replace("tests/data/cifar10", "tests/nowhere"))
    said = fails_with(tool("study").main, "run", path, "--work-dir", tmp_path / "work")
    assert "tests/nowhere/cifar-10-batches-py" in said
    assert not (tmp_path / "work").exists() and not list((tmp_path / "tiny").iterdir())


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_of_the_repository_can_be_run(path):
    study = load_study(path)
    cfg = load_config(ROOT / study.config)
    assert len(study.seeds) >= 2 and study.title.endswith("?")
    for arm in study.arms.values():
        run = configure(study, arm, study.seeds[0])
        spent = passes_of_run(
            arm, study.samples, cfg.train_dataloader.batch_size, run.train_cfg.max_epochs
        )
        assert spent == pytest.approx(study.budget * arm.times, rel=0.02)
