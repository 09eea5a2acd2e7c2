"""The house keeps its walls: who may import what."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def files(*places):
    return [p for place in places for p in sorted((ROOT / place).rglob("*.py"))]


CORE = [p for p in files("ausam_core") if "mmengine" not in p.relative_to(ROOT).parts]


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_core_imports_torch_and_the_standard_library_only(path):
    import sys

    allowed = {"torch", "ausam_core", *sys.stdlib_module_names}
    assert {name.split(".")[0] for name in imports(path)} <= allowed
    assert not any(name.startswith("ausam_core.mmengine") for name in imports(path))


@pytest.mark.parametrize("path", files("ausam_core"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_core_knows_no_task(path):
    foreign = ("tasks", "mmpose", "mmdet", "mmcv", "mmpretrain", "torchvision")
    assert not [name for name in imports(path) if name.split(".")[0] in foreign]


def test_only_the_pose_task_imports_mmpose():
    importers = [p for p in files("ausam_core", "tasks") if "mmpose" in str(list(imports(p)))]
    assert importers and all("pose" in p.relative_to(ROOT / "tasks").parts for p in importers)


def test_no_task_imports_another():
    """Except qat: it uses classification's data and models and, in a room for it, those of pose."""
    for path in files("tasks"):
        own = path.relative_to(ROOT / "tasks").parts[0]
        others = {n.split(".")[1] for n in imports(path) if n.startswith("tasks.")} - {own}
        allowed = {"pose" if "pose" in path.parts else "classification"} if own == "qat" else set()
        assert others <= allowed, path
