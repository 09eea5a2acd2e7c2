"""What every tool does with configurations and with mistakes."""

import gc
import sys
import time
from pathlib import Path
from types import ModuleType

import _common
import pytest
import torch
from _common import check_task, load_config, run_tool, sentence
from mmengine.config import Config
from torch import distributed as dist
from torch.utils.data import DataLoader

from ausam_core.errors import AusamError

SENTENCE = "alpha must lie in (0, 1], found 2: choose 0.5"


def test_a_mistake_is_one_line_and_exit_code_2(capsys):
    def main() -> None:
        raise AusamError("no such\n thing")

    with pytest.raises(SystemExit) as exit_info:
        run_tool(main)
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == "error: no such thing\n"


def test_a_fault_of_the_program_keeps_its_traceback():
    def main() -> None:
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        run_tool(main)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed in /proc")
def test_threads_that_moved_tensors_between_ranks_end_before_python_does(tmp_path):
    """Held by a cycle, as a runner holds them: they outlive the group's own end."""

    def threads() -> set[str]:
        return {task.name for task in Path("/proc/self/task").iterdir()}

    before = threads()

    def main() -> None:
        dist.init_process_group("gloo", init_method=f"file://{tmp_path}/s", rank=0, world_size=1)
        held = [dist.group.WORLD]
        held.append(held)
        assert threads() > before

    gc.disable()  # not by chance
    try:
        run_tool(main)
    finally:
        gc.enable()
    assert not dist.is_initialized()
    deadline = time.monotonic() + 5  # a thread that was joined may still be listed
    while not threads() <= before:
        assert time.monotonic() < deadline


class Broken:
    """A data set whose images cannot be read."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        raise AusamError(SENTENCE)


def test_the_sentence_is_free_of_what_a_loader_worker_adds():
    with pytest.raises(AusamError) as error:
        next(iter(DataLoader(Broken(), num_workers=1)))
    assert "Traceback" in str(error.value)
    assert sentence(error.value) == SENTENCE


@pytest.mark.parametrize(
    "text, says",
    [
        (None, "configuration not found"),
        ("_base_ = './nowhere.py'", "nowhere.py"),
        ("model = dict(", "cannot be read"),
        ("custom_imports = dict(imports=['no_such_module'])", "no_such_module"),
    ],
)
def test_a_configuration_that_cannot_be_had_is_named(tmp_path, text, says):
    path = tmp_path / "config.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(AusamError, match=says):
        load_config(path)


def test_overrides_are_applied(toy_config):
    assert load_config(toy_config, {"train_cfg.max_epochs": 7}).train_cfg.max_epochs == 7


@pytest.mark.parametrize(
    ("key", "meant"), [("optim_wraper.optimizer.lr", "optim_wrapper"), ("modle.net", "model")]
)
def test_a_misspelt_key_is_refused_with_the_nearest(toy_config, key, meant):
    with pytest.raises(AusamError, match=rf"set {key}, but .* \(did you mean {meant}\?\)"):
        load_config(toy_config, {key: 9})


@pytest.mark.parametrize(
    "key", ["load_from", "resume", "experiment_name", "visualizer.name", "env_cfg.a", "sync_bn"]
)
def test_a_key_that_the_runner_knows_need_not_be_in_the_file(toy_config, key):
    assert key not in load_config(toy_config)
    load_config(toy_config, {key: "x"})


def test_each_task_of_a_configuration_checks_it_once(monkeypatch):
    seen = []
    task = ModuleType("tasks.fake")
    task.check_config = seen.append
    monkeypatch.setitem(sys.modules, "tasks.fake", task)
    cfg = Config({"custom_imports": {"imports": ["tasks.fake", "tasks.fake.models", "json"]}})
    check_task(cfg)
    assert seen == [cfg]


def test_a_task_without_checks_is_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "tasks.quiet", ModuleType("tasks.quiet"))
    check_task(Config({"custom_imports": {"imports": "tasks.quiet"}}))
    check_task(Config({}))


@pytest.mark.parametrize(
    "workers, processes, threads", [(0, 1, 4), (1, 1, 3), (9, 1, 1), (1, 2, 1)]
)
def test_threads_are_the_cores_that_workers_and_other_processes_leave(
    monkeypatch, workers, processes, threads
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setattr(_common, "usable_cores", lambda: 4)
    monkeypatch.setattr(_common, "get_device", lambda: "cpu")
    found = []
    monkeypatch.setattr(torch, "set_num_threads", found.append)
    _common.prepare_cpu(Config(dict(train_dataloader=dict(num_workers=workers))))
    assert found == [threads]
