"""The doctor speaks in a few lines, also where nothing is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

import ausam_core

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def doctor(tool):
    return tool("doctor")


def test_in_a_bare_environment_it_says_what_is_missing_and_what_to_do(tmp_path):
    # -S: no site-packages, as a Python that was just installed.
    command = [sys.executable, "-I", "-S", str(ROOT / "tools/doctor.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert len(lines) == 10
    assert lines["torch"].startswith("missing")
    assert lines["MMEngine"].startswith("missing")
    assert "environment.sh" in lines["next"]


def test_with_everything_installed_nothing_is_missing(doctor, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    doctor.main()
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert {"threads", "denormals", "layout"} < lines.keys()
    assert "times as fast" in lines["layout"]
    assert lines["AUSAM"] == f"{ausam_core.__version__}, of this repository"
    assert "mmengine 0.10.7" in lines["MMEngine"]
    assert "mmpose 1.3.2" in lines["MMPose"]
    assert "quickstart.sh" in lines["next"]
    assert "http" in lines["MPII"] and "http" in lines["CIFAR"]


def test_data_that_is_there_is_found(doctor, tmp_path):
    for name in (*doctor.MPII_FILES, "images/1.jpg", "images/2.jpg"):
        path = tmp_path / "mpii" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "cifar10/cifar-10-batches-py").mkdir(parents=True)
    assert doctor.mpii_line(tmp_path).startswith("2 images")
    assert doctor.cifar_line(tmp_path).startswith(str(tmp_path / "cifar10"))
    assert f"no {tmp_path / 'cifar100'}" in doctor.cifar_line(tmp_path)


def test_incomplete_mpii_names_what_it_lacks(doctor, tmp_path):
    (tmp_path / "mpii/images").mkdir(parents=True)
    (tmp_path / "mpii/images/1.jpg").touch()
    line = doctor.mpii_line(tmp_path)
    assert "mpii_train.json" in line and "images/" not in line


def test_a_gpu_that_torch_cannot_use_is_explained(doctor, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "CPU build" in doctor.cuda_line()
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert "update the driver" in doctor.cuda_line()
