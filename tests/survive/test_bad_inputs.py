"""Sixty mistakes over all tools: each is one sentence and exit code 2, and nothing is written.

Where a mistake only shows once MMEngine's runner is made, the runner has begun its log; then there
is that log and no checkpoint.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

SELECTION = "train_dataloader.batch_sampler.selection."
METHOD = "optim_wrapper.method."
SIMCC = str(ROOT / "configs/simcc_mpii_ausam_mini.py")
CIFAR = str(ROOT / "configs/classification/cifar10/resnet18_sgd.py")
QAT = str(ROOT / "configs/qat/resnet18_slim_sgd.py")


def train(*options: str) -> list[str]:
    return ["TOY", "--work-dir", "work", "--cfg-options", *options]


# (tool, its arguments, what the sentence says). Words in capitals are the files of `files` below.
FLAGS = [
    ("train", ["TOY", "--launcher", "pigeon"], "--launcher"),
    ("train", ["TOY", "--interval", "many"], "--interval"),
    ("train", [], "config"),
    ("train", ["TOY", "--work-dir", "work", "--show-dir", "pictures"], "--show-dir"),
    ("test", ["TOY"], "checkpoint"),
    ("test", ["TOY", "GOOD", "--dump", "answers.txt"], ".pkl"),
    ("test", ["TOY", "GOOD", "--badcase"], "badcase"),
    ("demo", ["PICTURE"], "--config"),
    ("demo", ["PICTURE", "--config", SIMCC, "--checkpoint", "GOOD", "--bbox", "1,2,3"], "--bbox"),
    ("demo", ["PICTURE", "--config", SIMCC, "--checkpoint", "GOOD", "--bbox", "9,9,1,1"], "--bbox"),
    ("benchmark", ["speed", "--rounds", "0"], "--rounds"),
    ("benchmark", ["speed", "--iters", "0"], "--iters"),
    ("benchmark", ["speed", "--warmup", "-1"], "--warmup"),
    ("benchmark", ["speed", "--batch-sizes", "32"], "--batch-sizes"),
    ("benchmark", ["speed", "--task", "qat", "--methods", "public-sam"], "public-sam"),
    ("benchmark", ["speed", "--task", "classification", "--methods", "adamm"], "adamm"),
    ("benchmark", ["speed", "--task", "classification", "--model", "vgg"], "vgg"),
    ("benchmark", ["scale", "--samples", "5"], "--samples"),
    ("benchmark", ["augment", "--workers", "-1"], "--workers"),
    ("qat", ["export", "GOOD"], "--out"),
    ("qat", ["export", "GOOD", "-o", "x.onnx", "--style", "round"], "--style"),
    ("qat", ["export", "GOOD", "-o", "x.onnx", "--weights", "int3"], "--weights"),
    ("qat", [], "command"),
]
CONFIGS = [
    ("train", ["nowhere.py"], "nowhere.py"),
    ("train", ["."], "configuration not found"),
    ("train", ["BROKEN"], "cannot be read"),
    ("train", ["MISSING_MODULE"], "no_such_module"),
    ("test", ["nowhere.py", "GOOD"], "nowhere.py"),
    ("print_config", ["nowhere.py"], "nowhere.py"),
    ("print_config", ["BROKEN"], "cannot be read"),
    ("demo", ["PICTURE", "--config", "nowhere.py", "--checkpoint", "GOOD"], "nowhere.py"),
    ("quickstart", ["--config", "nowhere.py", "--work-dir", "work"], "nowhere.py"),
    ("benchmark", ["speed", "--config", "nowhere.py"], "nowhere.py"),
    ("benchmark", ["speed", "--config", "PLAIN"], "does not train with AUSAM"),
    ("test", ["TOY", "GOOD", "--cfg-options", "test_evaluator=None"], "test_evaluator"),
    ("train", train(SELECTION + "alpha=1.5"), "alpha"),
    ("train", train(SELECTION + "alpha=0"), "alpha"),
    ("train", train(SELECTION + "alpha=half"), "alpha"),
    ("train", train(SELECTION + "s_min=0"), "s_min"),
    ("train", train(SELECTION + "s_max=0.01"), "s_max"),
    ("train", train(SELECTION + "estimate=median"), "estimate"),
    ("train", train(SELECTION + "start_epoch=-3"), "start_epoch"),
    ("train", train(SELECTION + "gamma=2"), "gamma"),
    ("train", train(SELECTION + "type=Best"), "Best"),
    ("train", train(METHOD + "rho=-1"), "rho"),
    ("train", train(METHOD + "rho=nan"), "rho"),
    ("train", train(METHOD + "rho=large"), "rho"),
    ("train", train(METHOD + "ascent=2"), "ascent"),
    ("train", train(METHOD + "start=1"), "start"),
    ("train", train(METHOD + "type=SAMM"), "SAMM"),
    ("train", train(METHOD + "radius=1"), "radius"),
    ("train", train("custom_hooks.0.alpha=0.5"), "alpha"),
    ("train", train("custom_hooks.0.start=1.5"), "start"),
    ("train", ["TOY", "--amp", *train("optim_wrapper.type=ApexOptimWrapper")[1:]], "Apex"),
]
DATA = [
    ("train", [str(ROOT / "configs/simcc_mpii_ausam.py"), "--work-dir", "work"], "mpii_train.json"),
    ("train", [CIFAR, "--work-dir", "work", "--cfg-options", "OFFLINE"], "cifar"),
    ("demo", ["nowhere.jpg", "--config", SIMCC, "--checkpoint", "GOOD"], "nowhere.jpg"),
    ("demo", ["TEXT", "--config", SIMCC, "--checkpoint", "GOOD"], "cannot be read as an image"),
    ("demo", ["EMPTY", "--config", SIMCC, "--checkpoint", "GOOD"], "cannot be read as an image"),
]
CHECKPOINTS = [
    ("train", ["TOY", "--work-dir", "work", "--resume", "nowhere.pth"], "nowhere.pth"),
    ("train", ["TOY", "--work-dir", "work", "--resume", "CUT"], "cut.pth"),
    ("train", ["TOY", "--work-dir", "work", "--resume", "TEXT"], "text.txt"),
    ("train", ["TOY", "--work-dir", "work", "--resume", "EMPTY"], "empty"),
    ("train", train("load_from=nowhere.pth"), "nowhere.pth"),
    ("train", ["TOY", "--work-dir", "."], "already holds checkpoints"),
    ("test", ["TOY", "nowhere.pth"], "nowhere.pth"),
    ("test", ["TOY", "CUT"], "cut.pth"),
    ("test", ["TOY", "TEXT"], "text.txt"),
    ("demo", ["PICTURE", "--config", SIMCC, "--checkpoint", "CUT"], "cut.pth"),
    ("demo", ["PICTURE", "--config", SIMCC, "--checkpoint", "nowhere.pth"], "nowhere.pth"),
    ("qat", ["export", "nowhere.pth", "-o", "x.onnx"], "nowhere.pth"),
    ("qat", ["export", "CUT", "-o", "x.onnx"], "cut.pth"),
    ("qat", ["export", "GOOD", "-o", "x.onnx"], "good.pth"),
    ("qat", ["report", "nowhere.pth"], "nowhere.pth"),
    ("qat", ["verify", "nowhere.onnx"], "nowhere.onnx"),
    ("qat", ["verify", "TEXT"], "text.txt"),
]
ENVIRONMENT = [
    ("train", ["TOY", "--work-dir", "TEXT"], "text.txt"),
    ("benchmark", ["scale", "--samples", "1000", "--json", "TEXT/x.json"], "text.txt"),
    ("qat", ["export", "GOOD", "-o", "TEXT/x.onnx"], "text.txt"),
]
MISTAKES = [*FLAGS, *CONFIGS, *DATA, *CHECKPOINTS, *ENVIRONMENT]


@pytest.fixture
def files(toy_config, tmp_path, monkeypatch) -> dict[str, str]:
    """What the words in capitals stand for; the current folder holds them and nothing else."""
    good = tmp_path / "good.pth"
    torch.save(dict(state_dict={}, meta={}), good)
    (tmp_path / "cut.pth").write_bytes(good.read_bytes()[:-100])
    (tmp_path / "text.txt").write_text("Not what it should be.\n")
    (tmp_path / "empty").touch()
    (tmp_path / "broken.py").write_text("model = dict(type=\n")
    (tmp_path / "imports.py").write_text(
        "custom_imports = dict(imports=['no_such_module'], allow_failed_imports=False)\n"
    )
    (tmp_path / "plain.py").write_text(
        "_base_ = ['toy.py']\noptim_wrapper = dict(_delete_=True, type='OptimWrapper')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    picture = next((ROOT / "tests/data/pose/lspet/images").glob("*.jpg"))
    return dict(
        TOY=str(toy_config),
        GOOD="good.pth",
        CUT="cut.pth",
        TEXT="text.txt",
        EMPTY="empty",
        BROKEN="broken.py",
        MISSING_MODULE="imports.py",
        PLAIN="plain.py",
        PICTURE=str(picture),
        OFFLINE="train_dataloader.dataset.root=/proc/nowhere",
    )


def no_network(*args, **kwargs):
    raise OSError("there is no network in this test")


def rows() -> list:
    """The table; what is known to end otherwise is marked, and has to be unmarked once it is
    mended."""
    marked = []
    for mistake in MISTAKES:
        words = " ".join(mistake[1])
        marked.append(pytest.param(mistake, id=" ".join([mistake[0], words])[-90:]))
    return marked


def put_in(argument: str, files: dict[str, str]) -> str:
    head, slash, tail = argument.partition("/")
    return files.get(head, head) + slash + tail


def snapshot(folder: Path) -> dict[str, float]:
    return {
        os.path.relpath(path, folder): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def only_a_log(path: str) -> bool:
    """Whether the file is what MMEngine's runner begins with."""
    return path.startswith("work/") and path.endswith((".log", ".py", ".json"))


@pytest.mark.parametrize("mistake", rows())
def test_a_mistake_is_one_sentence_and_writes_nothing(mistake, files, tool, tmp_path, capsys):
    name, argv, says = mistake
    from _common import run_tool

    before = snapshot(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_tool(lambda: tool(name).main([put_in(arg, files) for arg in argv]))
    lines = [x for x in capsys.readouterr().err.splitlines() if x and "WARNING" not in x]
    assert ended.value.code == 2, lines
    assert "error: " in lines[-1] and says in lines[-1], lines
    # argparse prints how to use the tool first.
    assert len(lines) == 1 or lines[0].startswith("usage: "), lines
    written = [path for path, time in snapshot(tmp_path).items() if before.get(path) != time]
    assert all(map(only_a_log, written)), written


def test_the_table_has_sixty_rows_and_every_tool():
    assert len(MISTAKES) >= 60
    assert {name for name, *_ in MISTAKES} == {
        "train",
        "test",
        "demo",
        "benchmark",
        "deploy",
        "print_config",
        "quickstart",
    }
