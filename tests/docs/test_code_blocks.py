"""Every block of code of the pages runs, and every file and every flag that they name is there."""

import argparse
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys

import pytest
import torch
from mmengine.hooks import Hook

import ausam_core.mmengine
from tests.ausam_core.mmengine import tiny
from tests.docs.pages import FENCE, PAGES, ROOT, SHARDING, blocks, name_of, run_blocks

#: A path in a folder of the repository, in a shell line or in backticks.
FILE = re.compile(
    r"(?<![\w./-])(?:configs|docs|examples|studies|tasks|tests|tools|ausam_core)/[\w./-]*\w/?"
)
CODE = re.compile(r"`[^`\n]+`")
INDENTED = re.compile(r"^    \S.*$", re.MULTILINE)
#: A tool or an example with its flags, in a shell line.
COMMAND = re.compile(r"^(?:\S*python|torchrun \S+ \d) (tools|examples)/(\w+)\.py([^#\n]*)")

METHODS = dict(ausam_core.mmengine.METHODS.module_dict)
WITH_PYTHON = [page for page in PAGES if blocks(page, "python") and page != SHARDING]
OWN_DATA = ROOT / "docs/own_pose_data.md"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Blocks may write files, and register classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ausam_core.mmengine.METHODS, "_module_dict", {})
    for name, cls in METHODS.items():
        ausam_core.mmengine.METHODS.module_dict[name] = cls


def shell_lines(page):
    """The lines of shell blocks, and of blocks that are indented, as README has them."""
    text = page.read_text(encoding="utf-8")
    fenced = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [*fenced, *(line.strip() for line in INDENTED.findall(FENCE.sub("", text)))]


def commands(page):
    """(folder, name, flags) of each tool and example that a page runs, in a sentence too."""
    inline = [code.strip("`") for code in CODE.findall(page.read_text(encoding="utf-8"))]
    found = [COMMAND.match(line) for line in [*shell_lines(page), *inline]]
    return [match.groups() for match in found if match and "…" not in match.string]


def test_there_are_blocks_to_run():
    pages = {"README.md", "docs/guides/pytorch.md", "docs/guides/quantization.md"}
    assert pages <= set(map(name_of, WITH_PYTHON))
    assert len(blocks(SHARDING, "python")) >= 4
    assert sum(len(commands(page)) for page in PAGES) > 30


def test_a_page_has_no_block_that_nobody_runs():
    known = {"python", "bash", "json", "text"}  # the last shows what a program prints
    found = {lang for page in PAGES for lang, _ in FENCE.findall(page.read_text(encoding="utf-8"))}
    assert found <= known
    for page in PAGES:  # every fence is one of those that were found
        text = page.read_text(encoding="utf-8")
        assert text.count("\n```") == 2 * len(FENCE.findall(text)), name_of(page)


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_python_blocks_run(page):
    if "tasks.qat" in "".join(blocks(page, "python")):
        pytest.importorskip("onnxruntime", reason="needs the extra: pip install ausam[export]")
    assert len(list(run_blocks(page))) == len(blocks(page, "python"))


def on_ranks(count, folder):
    """The guide to sharding on several processes: the weights that each ends with."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*command, f"--nproc-per-node={count}", "-m", "tests.docs.sharded_page", str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{count}-{rank}.pth") for rank in range(count)]


def test_the_guide_to_sharding_runs_and_two_ranks_end_with_one_model(tmp_path):
    pytest.importorskip("torch.distributed.fsdp", reason="torch has no distributed package here")
    if not hasattr(torch.distributed.fsdp, "fully_shard"):
        pytest.skip("fully_shard is under torch.distributed.fsdp since torch 2.6")
    first, second = on_ranks(2, tmp_path)
    assert torch.equal(first, second) and first.isfinite().all()


class Passes(Hook):
    """How many samples the model saw in each pass of the last step."""

    def before_train(self, runner):
        runner.model.register_forward_pre_hook(self._note, with_kwargs=True)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.of_step = []

    def _note(self, model, args, kwargs):
        self.of_step.append(len((args or tuple(kwargs.values()))[0]))


def test_lines_for_a_config_train(tmp_path):
    """Each block of the guide that sets hooks makes a run in which samples are left out."""
    trained = 0
    for code, names in run_blocks(ROOT / "docs/guides/mmengine.md"):
        if "custom_hooks" not in code:
            continue
        own = {key: names[key] for key in ("optim_wrapper", "train_dataloader") if key in code}
        settings = {"wrapper": own.get("optim_wrapper", tiny.STOCK)}
        if "train_dataloader" in own:
            settings["selection"] = own["train_dataloader"]["batch_sampler"]["selection"]
        passes = Passes()
        hooks = [*names["custom_hooks"], passes]
        tiny.train(tmp_path / str(trained), hooks=hooks, epochs=4, **settings)
        assert passes.of_step == [4, 4]  # of 8
        trained += 1
    assert trained == 4


def test_annotations_that_the_guide_shows_can_be_read(tmp_path):
    pytest.importorskip("mmpose", reason="needs what tools/environment.sh installs")
    from tasks.pose.persons import read_annotations

    coco, mpii = blocks(OWN_DATA, "json")
    assert isinstance(json.loads(coco), dict) and isinstance(json.loads(mpii), list)
    found = []
    for text in (coco, mpii):
        (tmp_path / "file.json").write_text(text)
        (person,) = read_annotations(tmp_path / "file.json").persons
        assert person.is_trainable()
        found.append(person.keypoints[person.visible > 0].tolist())
    assert found[0] == found[1] == [[210.0, 80.5], [190.5, 300.0]]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_a_page_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    code = "\n".join([*shell_lines(page), *CODE.findall(FENCE.sub("", text))])
    missing = [name for name in FILE.findall(code) if not (ROOT / name).exists()]
    assert not missing


class Parsed(Exception):
    """The flags were understood; nothing shall run."""


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name_of)
def test_tools_and_examples_know_the_flags_that_a_page_gives_them(page, monkeypatch):
    understood = argparse.ArgumentParser.parse_args

    def parse_and_stop(self, *args, **kwargs):
        understood(self, *args, **kwargs)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.syspath_prepend(ROOT / "tools")
    for folder, name, flags in commands(page):
        main = loaded(folder, name).main
        if name == "doctor":  # takes none
            assert not flags.strip()
            continue
        with pytest.raises(Parsed):
            main(shlex.split(flags))


def loaded(folder, name):
    """A script as a module; skipped where it shows a package that is not installed."""
    spec = importlib.util.spec_from_file_location(f"{folder}_{name}", ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
