"""The site builds without a warning."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("material", "mkdocstrings")),
    reason="needs tools/requirements/docs.txt",
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
