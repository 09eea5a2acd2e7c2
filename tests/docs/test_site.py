"""The site builds without a warning, and its drawing is what its script draws."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("material", "mkdocstrings")),
    reason="needs docs.txt of tools/requirements: AUSAM_EXTRAS=1 bash tools/run_tests.sh",
)
def test_the_site_builds_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    reference = (tmp_path / "reference/methods/index.html").read_text(encoding="utf-8")
    assert 'id="ausam_core.SAM"' in reference
    assert ":class:" not in reference and "~ausam_core" not in reference


def test_the_drawing_of_a_step_is_what_its_script_draws():
    path = ROOT / "docs/pictures/step.py"
    spec = importlib.util.spec_from_file_location("step", path)
    step = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(step)
    assert path.with_suffix(".svg").read_text(encoding="utf-8") == step.picture()
