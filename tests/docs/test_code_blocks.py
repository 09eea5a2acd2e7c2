"""Every Python block of the site runs, and every file that it names is there."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

import ausam_core
import ausam_core.mmengine
from tests.ausam_core.mmengine import tiny

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: A path in a folder of the repository, in a shell line or in backticks.
FILE = re.compile(
    r"(?<![\w./-])(?:configs|docs|examples|tasks|tests|tools|ausam_core)/[\w./-]*\w/?"
)
CODE = re.compile(r"`[^`\n]+`")


def name_of(page):
    return str(page.relative_to(ROOT / "docs"))


def blocks(page, *languages):
    text = page.read_text(encoding="utf-8")
    return [code for language, code in FENCE.findall(text) if language in languages]


WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]


def at_hand():
    """What a reader of the pages has: a model, an optimizer, data."""
    torch.manual_seed(0)
    images, labels = torch.randn(64, 6), torch.randint(3, (64,))
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    return {
        **{name: getattr(ausam_core, name) for name in ausam_core.__all__},
        **dict(torch=torch, nn=nn, F=F, DataLoader=DataLoader, RandomSampler=RandomSampler),
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "train_set": TensorDataset(images, labels),
        "numbered_set": TensorDataset(torch.arange(64), images, labels),
        "images": images[:16],
        "labels": labels[:16],
        "epochs": 2,
        "sampler": ausam_core.SelectiveBatchSampler(
            RandomSampler(images), 16, ausam_core.GradientNormSelection(64)
        ),
    }


def run_blocks(page):
    """The blocks of a page, one after the other; the names after each."""
    names = at_hand()
    for i, code in enumerate(blocks(page, "python")):
        exec(compile(code, f"{name_of(page)}, block {i}", "exec"), names)
        yield code, dict(names)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Blocks may write files, and register classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ausam_core.mmengine.METHODS, "_module_dict", {})
    for name, cls in METHODS.items():
        ausam_core.mmengine.METHODS.module_dict[name] = cls


METHODS = dict(ausam_core.mmengine.METHODS.module_dict)


def test_there_are_blocks_to_run():
    assert {"guides/pytorch.md", "guides/mmengine.md"} <= set(map(name_of, WITH_PYTHON))


def test_a_page_has_no_block_that_nobody_runs():
    known = {"python", "bash", "json"}  # the last shows what a file holds
    found = {lang for page in PAGES for lang, _ in FENCE.findall(page.read_text(encoding="utf-8"))}
    assert found <= known
    for page in PAGES:  # every fence is one of those that were found
        text = page.read_text(encoding="utf-8")
        assert text.count("\n```") == 2 * len(FENCE.findall(text)), name_of(page)


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_python_blocks_run(page):
    assert len(list(run_blocks(page))) == len(blocks(page, "python"))


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
        probe = tiny.Probe()
        hooks = [*names["custom_hooks"], probe]
        tiny.train(tmp_path / str(trained), hooks=hooks, epochs=2, **settings)
        assert len(probe.results[-1].after) == 4  # of 8
        trained += 1
    assert trained == 3


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_a_page_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    code = "\n".join(blocks(page, "bash") + CODE.findall(FENCE.sub("", text)))
    missing = [name for name in FILE.findall(code) if not (ROOT / name).exists()]
    assert not missing
