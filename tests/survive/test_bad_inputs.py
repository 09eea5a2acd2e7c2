"""A hundred mistakes and more over all tools: each is one sentence, exit code 2, nothing written.

Where a mistake only shows once MMEngine's runner is made, the runner has begun its log; then there
is that log and no checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.survive.studies import broken_studies

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

SELECTION = "train_dataloader.batch_sampler.selection."
METHOD = "optim_wrapper.method."
SIMCC = str(ROOT / "configs/simcc_mpii_ausam_mini.py")
CIFAR = str(ROOT / "configs/classification/cifar10/resnet18_sgd.py")
QAT = str(ROOT / "configs/qat/resnet18_slim_sgd.py")


CUSTOM = str(ROOT / "configs/simcc_custom.py")
DEMO = ["PICTURE", "--config", SIMCC, "--checkpoint"]


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
    ("train", train("alpha"), "KEY=VALUE"),
    ("test", ["TOY", "BARE", "--out", "x.txt"], "--out"),
    ("demo", [*DEMO, "BARE", "--device", "pigeon"], "pigeon"),
    ("print_config", ["TOY", "--cfg-options", "=3"], "KEY=VALUE"),
    ("browse_dataset", [SIMCC, "--count", "0"], "--count"),
    ("browse_dataset", [SIMCC, "--phase", "exam"], "--phase"),
    ("browse_dataset", [SIMCC, "--mode", "upright"], "--mode"),
    ("analyze", ["beauty", "BARE"], "beauty"),
    ("analyze", ["gradients"], "checkpoints"),
    ("analyze", ["gradients", "BARE", "--alpha", "2"], "--alpha"),
    ("analyze", ["gradients", "BARE", "--images", "5"], "--images"),
    ("analyze", ["norms", "BARE", "--rho", "0"], "--rho"),
    ("analyze", ["norms", "BARE", "--rho", "nan"], "--rho"),
    ("analyze", ["sharpness", "BARE", "--grid", "4"], "--grid"),
    ("analyze", ["sharpness", "BARE", "--chunk", "0"], "--chunk"),
    ("analyze", ["sharpness", "BARE", "--span", "0"], "--span"),
    ("analyze", ["sharpness", "BARE", "--eigenvalues", "0"], "--eigenvalues"),
    ("quickstart", ["--minutes", "0"], "--minutes"),
    ("quickstart", ["--minutes", "soon"], "--minutes"),
    ("quickstart", ["--epochs", "0"], "--epochs"),
    ("quickstart", ["--epochs", "3", "--minutes", "3"], "--minutes"),
    ("quickstart", ["--faster"], "--faster"),
    ("import_weights", ["BARE"], "checkpoint"),
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
    ("train", train("custom_hooks.9.alpha=0.5"), "--cfg-options"),
    ("demo", ["PICTURE", "--config", "TOY", "--checkpoint", "BARE"], "no pose model"),
    ("quickstart", ["--config", "TOY", "--work-dir", "work"], "no pose model"),
    ("browse_dataset", ["nowhere.py"], "nowhere.py"),
    ("browse_dataset", ["TOY"], "no joints"),
    ("browse_dataset", ["EMPTY_CONFIG"], "no joints"),
    ("train", train("custom_hooks.0.alpha=0.5"), "alpha"),
    ("train", train("custom_hooks.0.start=1.5"), "start"),
    ("train", ["TOY", "--amp", *train("optim_wrapper.type=ApexOptimWrapper")[1:]], "Apex"),
]
DATA = [
    ("train", [str(ROOT / "configs/simcc_mpii_ausam.py"), "--work-dir", "work"], "mpii_train.json"),
    ("train", [CIFAR, "--work-dir", "work", "--cfg-options", "OFFLINE"], "cifar"),
    ("train", [CUSTOM, "--work-dir", "work"], "not there"),
    ("browse_dataset", [CUSTOM], "not there"),
    ("demo", ["nowhere.jpg", "--config", SIMCC, "--checkpoint", "GOOD"], "nowhere.jpg"),
    ("demo", ["TEXT", "--config", SIMCC, "--checkpoint", "GOOD"], "cannot be read as an image"),
    ("demo", ["EMPTY", "--config", SIMCC, "--checkpoint", "GOOD"], "cannot be read as an image"),
]
CHECKPOINTS = [
    ("train", ["TOY", "--work-dir", "work", "--resume", "nowhere.pth"], "nowhere.pth"),
    ("train", ["TOY", "--work-dir", "work", "--resume", "CUT"], "cut.pth"),
    ("train", ["TOY", "--work-dir", "work", "--resume", "TEXT"], "text.txt"),
    ("train", ["TOY", "--work-dir", "work", "--resume", "EMPTY"], "empty"),
    ("train", ["TOY", "--work-dir", "work", "--resume", "BARE"], "does not fit"),
    ("train", train("load_from=nowhere.pth"), "nowhere.pth"),
    ("train", train("load_from=CUT"), "cut.pth"),
    ("train", train("load_from=BARE"), "no weight"),
    ("test", ["TOY", "BARE", "--work-dir", "work"], "does not fit"),
    ("test", ["TOY", "GOOD"], "no weights"),
    ("test", ["TOY", "LIST"], "no weights"),
    ("demo", [*DEMO, "BARE"], "does not fit"),
    ("demo", [*DEMO, "LIST"], "no weights"),
    ("analyze", ["gradients", "nowhere.pth"], "nowhere.pth"),
    ("analyze", ["norms", "CUT"], "cut.pth"),
    ("analyze", ["losses", "TEXT"], "text.txt"),
    ("analyze", ["scores", "LIST"], "no weights"),
    ("analyze", ["scores", "BARE"], "no configuration"),
    ("import_weights", ["nowhere.th", "x.pth"], "nowhere.th"),
    ("import_weights", ["TEXT", "x.pth"], "text.txt"),
    ("import_weights", ["EMPTY", "x.pth"], "empty"),
    ("import_weights", ["CUT", "x.pth"], "cut.pth"),
    ("import_weights", ["LIST", "x.pth"], "list.pth"),
    ("import_weights", ["nowhere.npz", "x.pth"], "nowhere.npz"),
    ("import_weights", ["BARE", "GOOD"], "exists"),
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
    ("test", ["TOY", "BARE", "--out", "TEXT/x.json"], "text.txt"),
    ("demo", [*DEMO, "BARE", "--json", "TEXT/x.json"], "text.txt"),
    ("analyze", ["scores", "BARE", "--out", "TEXT"], "text.txt"),
    ("browse_dataset", [SIMCC, "--output-dir", "TEXT"], "text.txt"),
    ("quickstart", ["--work-dir", "TEXT"], "text.txt"),
    ("quickstart", ["--again", "--work-dir", "TEXT"], "text.txt"),
    ("import_weights", ["BARE", "TEXT/x.pth"], "text.txt"),
    ("benchmark", ["scale", "--samples", "1000", "--json", "TEXT/x.json"], "text.txt"),
    ("qat", ["export", "GOOD", "-o", "TEXT/x.onnx"], "text.txt"),
]
STUDIES = [
    ("study", ["run", "nowhere.py"], "nowhere.py"),
    ("study", ["table", "nowhere.py"], "nowhere.py"),
    ("study", ["plot", "TEXT"], "cannot be read"),
    ("study", ["run", "STUDY", "--workers", "0"], "--workers"),
    ("study", ["run", "STUDY", "--seeds", "first"], "--seeds"),
    ("study", ["run", "STUDY", "--arms", "best"], "no arm best"),
    ("study", ["one", "STUDY", "best", "0"], "no arm best"),
    ("study", ["run", "STUDY_SETTING"], "no setting rho"),
    ("study", ["run", "STUDY_METHOD"], "radius"),
    ("study", ["run", "STUDY_SELECTION"], "gamma"),
    ("study", ["run", "STUDY_POOR"], "does not pay for one epoch"),
    ("study", ["run", "STUDY_REFERENCE"], "best"),
    ("study", ["run", "STUDY_NO_SEEDS"], "seeds"),
    ("study", ["run", "STUDY_NO_CONFIG"], "nowhere.py"),
    ("study", ["run", "STUDY_NO_DATA"], "nowhere"),
    ("study", ["run", "STUDY_OTHER_RECORD"], "another configuration"),
    ("study", ["table", "STUDY_OTHER_RECORD"], "another configuration"),
    ("study", ["table", "STUDY_CUT_RECORD"], "truncated"),
    ("study", ["run", "STUDY_BUSY"], "another run of this study"),
]
MISTAKES = [*FLAGS, *CONFIGS, *DATA, *CHECKPOINTS, *ENVIRONMENT, *STUDIES]


@pytest.fixture
def files(toy_config, tmp_path, monkeypatch) -> Iterator[dict[str, str]]:
    """What the words in capitals stand for; the current folder holds them and nothing else."""
    good = tmp_path / "good.pth"
    torch.save(dict(state_dict={}, meta={}), good)
    torch.save({"state_dict": {"another.weight": torch.ones(3)}}, tmp_path / "bare.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "empty.py").touch()
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
    found = dict(
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
        BARE="bare.pth",
        LIST="list.pth",
        EMPTY_CONFIG="empty.py",
    )
    with broken_studies(tmp_path / "studies") as studies:
        yield found | studies


def no_network(*args, **kwargs):
    raise OSError("there is no network in this test")


def name_of(mistake: tuple) -> str:
    return " ".join([mistake[0], *mistake[1]])[-90:]


def put_in(argument: str, files: dict[str, str]) -> str:
    """The argument with the file for its word, which may stand before a / or behind a =."""
    before, equals, value = argument.rpartition("=")
    head, slash, tail = value.partition("/")
    return before + equals + files.get(head, head) + slash + tail


def snapshot(folder: Path) -> dict[str, float]:
    return {
        os.path.relpath(path, folder): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def only_a_log(path: str) -> bool:
    """Whether the file is what MMEngine's runner begins with."""
    return path.startswith("work/") and path.endswith((".log", ".py", ".json"))


@pytest.mark.parametrize("mistake", MISTAKES, ids=name_of)
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


def test_every_tool_that_takes_arguments_is_in_the_table():
    tools = {path.stem for path in (ROOT / "tools").glob("[!_]*.py")}
    assert {name for name, *_ in MISTAKES} == tools - {"doctor"}
