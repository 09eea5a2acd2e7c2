"""tools/train.py and tools/test.py: flags, mixed precision, what a run starts from, mistakes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from _common import load_config
from _start import choose_start
from mmengine.config import Config

from ausam_core.errors import AusamError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def train(tool):
    return tool("train")


@pytest.fixture
def trained(train, toy_config, tmp_path) -> Path:
    """The work folder of two epochs of the toy task."""
    train.main([str(toy_config), "--work-dir", str(tmp_path / "work")])
    return tmp_path / "work"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    "before, after",
    [
        ("OptimWrapper", "AmpOptimWrapper"),
        ("SAMOptimWrapper", "SAMAmpOptimWrapper"),
        ("AmpOptimWrapper", "AmpOptimWrapper"),
        ("SAMAmpOptimWrapper", "SAMAmpOptimWrapper"),
        (None, "AmpOptimWrapper"),
    ],
)
def test_amp_takes_the_twin_of_the_wrapper(train, monkeypatch, before, after):
    monkeypatch.setattr(train, "get_device", lambda: "cuda")
    cfg = Config({"optim_wrapper": {"type": before} if before else {}})
    train.enable_amp(cfg)
    assert cfg.optim_wrapper == {"type": after, "loss_scale": "dynamic"}


def test_amp_keeps_a_loss_scale_that_was_set(train):
    cfg = Config({"optim_wrapper": {"type": "SAMOptimWrapper", "loss_scale": 512.0}})
    train.enable_amp(cfg)
    assert cfg.optim_wrapper.loss_scale == 512.0


def test_amp_names_a_wrapper_it_does_not_know(train, toy_config, fails_with):
    option = "optim_wrapper.type=ApexOptimWrapper"
    assert "ApexOptimWrapper" in fails_with(
        train.main, toy_config, "--amp", "--cfg-options", option
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="MMEngine's own wrapper runs on a GPU")
def test_amp_without_a_gpu_is_refused_for_the_plain_wrapper(train):
    with pytest.raises(AusamError, match="needs a GPU"):
        train.enable_amp(Config({"optim_wrapper": {"type": "OptimWrapper"}}))


def test_flags_reach_the_configuration(train, toy_config, tmp_path):
    argv = [str(toy_config), "--work-dir", str(tmp_path / "w"), "--no-validate", "--auto-scale-lr"]
    cfg = train.make_config(train.parse_args([*argv, "--launcher", "pytorch", "--local-rank", "3"]))
    assert cfg.work_dir == str(tmp_path / "w")
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None
    assert cfg.auto_scale_lr.enable
    assert cfg.launcher == "pytorch"


def test_the_work_folder_is_named_after_the_configuration(train, toy_config, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert train.make_config(train.parse_args([str(toy_config)])).work_dir == "work_dirs/toy"


def test_pictures_are_asked_of_the_visualization_hook(train, toy_config, fails_with, tmp_path):
    assert "visualization" in fails_with(train.main, toy_config, "--show-dir", tmp_path)
    with toy_config.open("a") as file:
        file.write("default_hooks['visualization'] = dict(type='PoseVisualizationHook')\n")
    argv = [str(toy_config), "--show-dir", "pictures", "--interval", "5"]
    hook = train.make_config(train.parse_args(argv)).default_hooks.visualization
    assert (hook.enable, hook.out_dir, hook.interval, hook.show) == (True, "pictures", 5, False)


def test_training_writes_checkpoints_that_testing_reads(tool, toy_config, trained, tmp_path):
    out = tmp_path / "metrics.json"
    argv = [toy_config, trained / "epoch_2.pth", "--work-dir", trained, "--out", out]
    tool("test").main([str(arg) for arg in [*argv, "--dump", tmp_path / "answers.pkl"]])
    assert 0 <= json.loads(out.read_text())["accuracy"] <= 1
    assert (tmp_path / "answers.pkl").stat().st_size > 0


def test_who_tests_needs_the_test_data_alone(tool, toy_config, trained, monkeypatch):
    test, looked_at = tool("test"), []
    monkeypatch.setattr(test, "check_task", looked_at.append)
    argv = [str(toy_config), str(trained / "epoch_2.pth"), "--work-dir", str(trained)]
    cfg = test.make_config(test.parse_args(argv))
    (checked,) = looked_at
    assert checked.train_dataloader is checked.val_dataloader is None
    assert checked.test_dataloader == cfg.test_dataloader and cfg.train_dataloader is not None


def test_training_with_amp_runs_in_bfloat16_on_the_cpu(train, toy_config, tmp_path):
    train.main([str(toy_config), "--amp", "--work-dir", str(tmp_path / "amp")])
    assert (tmp_path / "amp/epoch_2.pth").is_file()


def test_resume_goes_on_where_the_run_stopped(train, toy_config, trained):
    argv = [str(toy_config), "--work-dir", str(trained), "--resume"]
    train.main([*argv, "--cfg-options", "train_cfg.max_epochs=3"])
    state = torch.load(trained / "epoch_3.pth", weights_only=True)
    assert state["meta"]["epoch"] == 3
    assert state["meta"]["iter"] == 3 * 4


def test_a_finished_run_is_not_trained_over(train, toy_config, trained, fails_with):
    before = {path: path.read_bytes() for path in trained.glob("*.pth")}
    assert "--resume" in fails_with(train.main, toy_config, "--work-dir", trained)
    assert {path: path.read_bytes() for path in trained.glob("*.pth")} == before


def test_resume_with_nothing_to_resume_begins(tmp_path):
    cfg = Config({"work_dir": str(tmp_path)})
    choose_start(cfg, "auto")
    assert (cfg.resume, cfg.load_from) == (False, None)


def test_resume_passes_over_a_truncated_checkpoint_and_says_so(trained, capsys):
    truncate(trained / "epoch_2.pth")
    cfg = Config({"work_dir": str(trained)})
    choose_start(cfg, "auto")
    assert (cfg.resume, cfg.load_from) == (True, str(trained / "epoch_1.pth"))
    assert "epoch_2.pth" in capsys.readouterr().out


def test_resume_takes_no_checkpoint_without_optimizer(trained):
    shutil.copy(trained / "epoch_2.pth", trained / "best_accuracy_epoch_2.pth")  # the newest file
    cfg = Config({"work_dir": str(trained)})
    choose_start(cfg, "auto")
    assert cfg.load_from == str(trained / "epoch_2.pth")


def test_resume_with_only_truncated_checkpoints_begins_anew_and_says_so(trained, capsys):
    for path in trained.glob("*.pth"):
        truncate(path)
    cfg = Config({"work_dir": str(trained)})
    choose_start(cfg, "auto")
    assert (cfg.resume, cfg.load_from) == (False, None)
    assert "truncated" in capsys.readouterr().out


def test_a_truncated_checkpoint_is_named_with_the_newest_whole_one(
    tool, train, toy_config, trained, fails_with
):
    bad = trained / "epoch_2.pth"
    truncate(bad)
    for line in (
        fails_with(train.main, toy_config, "--work-dir", trained, "--resume", bad),
        fails_with(tool("test").main, toy_config, bad, "--work-dir", trained),
    ):
        assert "epoch_2.pth" in line and "epoch_1.pth" in line


@pytest.fixture
def lacking(trained) -> Path:
    """A checkpoint in which the first weight of the model is missing, as of another model."""
    checkpoint = torch.load(trained / "epoch_2.pth", weights_only=True)
    checkpoint["state_dict"].pop(next(iter(checkpoint["state_dict"])))
    path = trained.parent / "lacking.pth"
    torch.save(checkpoint, path)
    return path


def test_weights_of_another_model_are_neither_tested_nor_resumed(
    tool, train, toy_config, lacking, tmp_path, fails_with
):
    work = ["--work-dir", tmp_path / "other"]
    assert "does not fit" in fails_with(tool("test").main, toy_config, lacking, *work)
    assert "does not fit" in fails_with(train.main, toy_config, "--resume", lacking, *work)
    assert not list((tmp_path / "other").glob("**/*.pth"))


def test_a_run_may_begin_with_a_part_of_the_weights(train, toy_config, lacking, tmp_path):
    argv = [str(toy_config), "--work-dir", str(tmp_path / "tuned"), "--cfg-options"]
    train.main([*argv, f"load_from={lacking}"])
    assert (tmp_path / "tuned/epoch_2.pth").is_file()


@pytest.mark.parametrize(
    "argv, says",
    [
        (["--resume", "nowhere.pth"], "nowhere.pth"),
        (["--cfg-options", "load_from=nowhere.pth"], "nowhere.pth"),
        (["--cfg-options", "train_dataloader.batch_sampler.selection.alpha=1.5"], "alpha"),
        (["--cfg-options", "train_dataloader.batch_sampler.selection.alpha=0.01"], "alpha"),
        (["--cfg-options", "train_dataloader.batch_sampler.selection.s_min=0"], "s_min"),
        (["--cfg-options", "train_dataloader.batch_sampler.selection.s_max=0.01"], "s_max"),
        (["--cfg-options", "optim_wrapper.method.rho=-1"], "rho"),
        (["--cfg-options", "optim_wrapper.method.type=SAMM"], "SAMM"),
        (["--cfg-options", "optim_wrapper.metod.type=SAM"], "did you mean method?"),
        (["--cfg-options", "optim_wrapper.optimizer.lr=abc"], "lr must be a number, found 'abc'"),
        (["--cfg-options", "train_cfg.max_epoch=1"], "no setting max_epoch"),
        (["--cfg-options", "train_cfg.max_epochs=0"], "max_epochs must be 1 or more, found 0"),
        (["--cfg-options", "optim_wraper.optimizer.lr=9"], "did you mean optim_wrapper?"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_checkpoint(
    train, toy_config, fails_with, tmp_path, argv, says
):
    work = tmp_path / "work"
    assert says in fails_with(train.main, toy_config, "--work-dir", work, *argv)
    assert not list(work.glob("**/*.pth"))


@pytest.mark.parametrize("name", ["train", "test"])
def test_a_work_folder_that_cannot_be_made_is_one_sentence(
    tool, toy_config, trained, fails_with, name
):
    argv = [toy_config, *([trained / "epoch_2.pth"] if name == "test" else [])]
    line = fails_with(tool(name).main, *argv, "--work-dir", trained / "epoch_1.pth" / "below")
    assert "cannot be written (Not a directory); choose another with --work-dir" in line


def test_a_resume_with_other_selection_settings_is_refused(train, toy_config, trained, fails_with):
    option = "train_dataloader.batch_sampler.selection.alpha=0.25"
    argv = [toy_config, "--work-dir", trained, "--resume", "--cfg-options", option]
    assert "alpha" in fails_with(train.main, *argv, "train_cfg.max_epochs=3")


def test_missing_mpii_points_to_the_mini_configuration(train, fails_with, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = fails_with(train.main, ROOT / "configs/simcc_mpii_ausam.py")
    assert "mpii_train.json" in line and "simcc_mpii_ausam_mini.py" in line


@pytest.mark.parametrize(
    "argv, says",
    [
        (["nowhere.pth"], "nowhere.pth"),
        (["CHECKPOINT", "--dump", "answers.txt"], ".pkl"),
        (["CHECKPOINT", "--badcase"], "badcase"),
        (["CHECKPOINT", "--cfg-options", "test_evaluator=None"], "test_evaluator"),
    ],
)
def test_mistakes_in_testing(tool, toy_config, trained, fails_with, argv, says):
    argv = [str(trained / "epoch_2.pth") if arg == "CHECKPOINT" else arg for arg in argv]
    assert says in fails_with(tool("test").main, toy_config, *argv, "--work-dir", trained)


def test_from_another_folder_a_missing_configuration_is_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "tools/train.py"), "nowhere.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: configuration not found: nowhere.py")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_print_config_prints_what_would_be_trained(tool, toy_config, capsys):
    tool("print_config").main([str(toy_config), "--cfg-options", "train_cfg.max_epochs=9"])
    printed = toy_config.with_name("printed.py")
    printed.write_text(capsys.readouterr().out)
    assert load_config(printed).train_cfg.max_epochs == 9
