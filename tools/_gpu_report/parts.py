"""The parts of the two reports: for each the commands, and how their results are read."""

from __future__ import annotations

import ast
import json
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _common import ROOT

RUNS = ("sgd", "sam", "ausam-0.5", "late-0.75_ausam-0.5")
BF16 = ("optim_wrapper.type=SAMAmpOptimWrapper", "optim_wrapper.dtype=bfloat16")
CIFAR10 = ROOT / "configs/classification/cifar10"
# Small real images, so that a dry run fetches nothing.
SAMPLE = tuple(
    f"{place}.{setting}"
    for place in (
        *(f"{split}_dataloader.dataset" for split in ("train", "val", "test")),
        *(f"model.data_preprocessor.{split}" for split in ("train", "test")),
    )
    for setting in ("root=tests/data/cifar10", "check_digest=False")
)


@dataclass(frozen=True)
class Part:
    """One thing that is run once.

    Attributes:
        name: of its record; words with hyphens.
        command: arguments of the interpreter; ``{folder}`` is the part's own folder.
        read: the result, from that folder, once the command has ended well.
        skip: why it is not run here, or None.
    """

    name: str
    command: tuple[str, ...]
    read: Callable[[Path], dict[str, Any]]
    skip: str | None = None

    def argv(self, folder: Path) -> list[str]:
        """The whole command line."""
        return [sys.executable, *(word.replace("{folder}", str(folder)) for word in self.command)]


def report_parts(cpu: bool, tiny: bool) -> Iterator[Part]:
    """What the report is made of, the most telling first: time may end before the list does."""
    yield _tests("tests-marked-gpu", "tests", cpu)
    waits = "tests/ausam_core/test_cuda.py::test_a_step_never_waits_for_the_device"
    yield _tests("no-host-synchronisation-in-a-step", waits, cpu)
    for task in ("classification", "qat", "pose"):
        for precision in ("fp32", "bf16"):
            yield from _speeds(task, precision, False, cpu, tiny)
    for method in RUNS:
        yield _run(method, epochs=4, seed=0, cpu=cpu, tiny=tiny, short=True)
    for task in ("classification", "qat", "pose"):
        for precision in ("fp32", "bf16"):
            yield from _speeds(task, precision, True, cpu, tiny)


def table2_parts(seeds: list[int], cpu: bool, tiny: bool) -> Iterator[Part]:
    """Every row of Table 2 for ResNet-18 and CIFAR-10, one seed after the other."""
    for seed in seeds:
        for method in table2_methods():
            yield _run(method, epochs=None, seed=seed, cpu=cpu, tiny=tiny, short=False)


def table2_methods() -> list[str]:
    """The configs that say in their first line that they are a row of this block; SGD first."""
    methods = []
    for path in sorted(CIFAR10.glob("resnet18_*.py")):
        title = ast.get_docstring(ast.parse(path.read_text())) or ""
        if title.startswith("Table 2, CIFAR-10, ResNet-18"):
            methods.append(path.stem.partition("_")[2])
    return sorted(methods, key=lambda name: (name != "sgd", name != "sam", name))


def _tests(name: str, what: str, cpu: bool) -> Part:
    command = ("-m", "pytest", "-q", "-m", "gpu", "--junitxml={folder}/tests.xml", what)
    return Part(name, command, read_tests, "needs a GPU" if cpu else None)


def _speeds(task: str, precision: str, compiled: bool, cpu: bool, tiny: bool) -> Iterator[Part]:
    """``benchmark.py speed``; pose takes its batch size from the config, so it runs once a size."""
    sizes = (8, 16) if tiny else (128, 256, 512)
    turns = ("--rounds", "1", "--iters", "1", "--warmup", "0") if tiny else ("--rounds", "3")
    options = [*(BF16 if precision == "bf16" else ()), *(("compile=True",) if compiled else ())]
    name = f"speed-{task}-{precision}" + ("-compiled" if compiled else "")
    skip = None
    if cpu and compiled:
        skip = "compiling for the CPU takes minutes and says nothing of a GPU"
    elif cpu and precision == "bf16" and task == "pose":
        skip = "MMEngine's AmpOptimWrapper needs a GPU"
    for given in [sizes] if task != "pose" else [(size,) for size in sizes]:
        command = ["tools/benchmark.py", "speed", "--task", task, "--json", "{folder}/speed.json"]
        own = list(options)
        if task == "pose":
            command += ["--no-loader"]
            own += [f"train_dataloader.batch_size={given[0]}"]
        else:
            command += ["--batch-sizes", *map(str, given)]
            own += [*SAMPLE, "model.net.width=8"] if tiny else []
        if own:
            own = ["--cfg-options", *own]
        at = f"-{given[0]}" if task == "pose" else ""
        yield Part(name + at, (*command, *turns, *own), read_speed, skip)


def _run(method: str, epochs: int | None, seed: int, cpu: bool, tiny: bool, short: bool) -> Part:
    """One whole run of ResNet-18; it goes on from its last epoch where it was cut short."""
    epochs = 2 if tiny and not short else epochs
    options = [f"randomness.seed={seed}", "default_hooks.checkpoint.max_keep_ckpts=1"]
    if epochs is not None:
        options += [f"train_cfg.max_epochs={epochs}", f"param_scheduler.0.T_max={epochs}"]
    if short:
        options += BF16
    if tiny:
        options += [*SAMPLE, "model.net.width=8", "train_dataloader.batch_size=32"]
    path = CIFAR10 / f"resnet18_{method}.py"
    command = ("tools/train.py", str(path.relative_to(ROOT)), "--resume")
    command += ("--work-dir", "{folder}/run", "--cfg-options", *options)
    return Part(f"run-resnet18-{method}" + ("" if short else f"-seed{seed}"), command, read_run)


def read_tests(folder: Path) -> dict[str, Any]:
    """How many tests there were, and how they ended."""
    suite = next(ElementTree.parse(folder / "tests.xml").iter("testsuite"))
    return {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}


def read_speed(folder: Path) -> dict[str, Any]:
    """The rows of the benchmark."""
    return json.loads((folder / "speed.json").read_text())


def read_run(folder: Path) -> dict[str, Any]:
    """Accuracy of the last epoch, and the best, from the log that MMEngine writes."""
    found = [
        entry["accuracy/top1"]
        for path in sorted((folder / "run").glob("*/vis_data/scalars.json"))
        for line in path.read_text().splitlines()
        if "accuracy/top1" in (entry := json.loads(line))
    ]
    return dict(epochs=len(found), top1=found[-1], best_top1=max(found))
