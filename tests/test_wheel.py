"""The wheel holds the core and its types, and works where torch is all there is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What a plain PyTorch environment may lack; importing any of it is an error in this program.
PROGRAM = """
import sys

for name in ("mmengine", "mmcv", "mmpose", "numpy", "torchvision", "tasks"):
    sys.modules[name] = None  # as if it were not installed
sys.path.insert(0, sys.argv[1])

import torch
from torch.nn import functional as F
import ausam_core
from ausam_core import SAM, GradientNormSelection, SelectiveBatchSampler

assert ausam_core.__file__.startswith(sys.argv[1]), ausam_core.__file__
torch.manual_seed(0)
x, y = torch.randn(32, 4), torch.randint(0, 3, (32,))
model = torch.nn.Linear(4, 3)
data = torch.utils.data.TensorDataset(x, y)
selection = GradientNormSelection(32, alpha=0.5, s_min=0.1, s_max=1.0)
inner = torch.utils.data.RandomSampler(data)
sampler = SelectiveBatchSampler(inner, batch_size=8, selection=selection)
sampler.begin_run(3)
loader = torch.utils.data.DataLoader(data, batch_sampler=sampler)
method = SAM(torch.optim.SGD(model.parameters(), lr=0.1), model, rho=0.05)
sizes = []
for _ in range(3):
    for batch, (a, b) in sampler.over(loader):
        result = method.step(lambda: F.cross_entropy(model(a), b, reduction="none"), batch=batch)
        sampler.record(batch, result)
        sizes.append(len(b))
assert sizes[0] == 8 and sizes[-1] == 4, sizes
print("trained with torch alone")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from a copy, so that nothing is left in the repository."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("README.md", "LICENSE", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    for name in ("ausam_core", "tasks"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation"]
    built = subprocess.run(
        [*command, "--wheel-dir", str(out)], cwd=copy, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr[-2000:]
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_holds_every_file_of_the_core_and_nothing_else(wheel):
    found = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    core = [*ROOT.glob("ausam_core/**/*.py"), ROOT / "ausam_core/py.typed"]
    assert found == {str(path.relative_to(ROOT)) for path in core}


def test_its_version_is_the_one_that_the_changelog_begins_with(wheel):
    version = wheel.name.split("-")[1]
    heading = next(
        line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line[:3] == "## "
    )
    assert heading.split()[1] == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_it_asks_for_torch_alone(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    lines = archive.read(name).decode().splitlines()
    wants = [line for line in lines if line.startswith("Requires-Dist: ")]
    assert [w for w in wants if "extra ==" not in w] == ["Requires-Dist: torch>=2.4"]


def test_it_trains_where_torch_is_all_there_is(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "site")],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "trained with torch alone\n"
