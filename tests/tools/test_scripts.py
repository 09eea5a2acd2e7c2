"""The shell scripts: what they start, and an environment that is made once and survives a kill."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Stands in for Python: makes "virtual environments" that hold a copy of itself, notes what pip is
# asked for, and fails where a file says so.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
"-m venv --clear "*)
    rm -rf "$4" && mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
"-m pip --version")
    ;;
"-m pip install "*)
    echo "$*" >>"$FAKE_LOG"
    if [ -f "$FAKE_LOG.fail" ] && echo "$*" | grep -q pose.txt; then
        echo "ERROR: no network"; exit 1
    fi ;;
*urlopen*)
    exit 1 ;;
esac
"""


def bash(script: str, *args: str, **env: str) -> subprocess.CompletedProcess:
    command = ["bash", str(ROOT / "tools" / script), *args]
    inherited = {key: value for key, value in os.environ.items() if key != "AUSAM_EXTRAS"}
    return subprocess.run(command, env=inherited | env, capture_output=True, text=True)


@pytest.fixture
def fake(tmp_path) -> dict[str, str]:
    """Environment variables under which environment.sh installs nothing real."""
    python = tmp_path / "fakepython"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    venv, log = str(tmp_path / "venv"), str(tmp_path / "pip.log")
    return {"PYTHON": str(python), "AUSAM_VENV": venv, "FAKE_LOG": log}


def test_the_environment_is_made_once(fake):
    assert bash("environment.sh", **fake).returncode == 0
    installs = Path(fake["FAKE_LOG"]).read_text()
    for name in ("torch", "base", "pose", "test"):
        assert f"{name}.txt" in installs
    assert any("--no-deps" in line and "no-deps.txt" in line for line in installs.splitlines())
    again = bash("environment.sh", **fake)
    assert (again.returncode, again.stdout) == (0, "")
    assert Path(fake["FAKE_LOG"]).read_text() == installs


def test_a_failed_installation_is_one_sentence_and_is_resumed(fake):
    fail = Path(fake["FAKE_LOG"] + ".fail")
    fail.touch()
    failed = bash("environment.sh", **fake)
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
    assert "no network" in failed.stderr and "same command" in failed.stderr
    fail.unlink()
    assert bash("environment.sh", **fake).returncode == 0
    assert bash("environment.sh", **fake).stdout == ""


def test_an_environment_that_was_cut_short_is_made_anew(fake):
    broken = Path(fake["AUSAM_VENV"]) / "bin"
    broken.mkdir(parents=True)
    (broken / "python").write_text("")  # not executable
    assert bash("environment.sh", **fake).returncode == 0
    assert "base.txt" in Path(fake["FAKE_LOG"]).read_text()


def test_other_requirements_install_again(fake, tmp_path):
    shutil.copytree(ROOT / "tools", tmp_path / "repo/tools")
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / "repo")
    script = str(tmp_path / "repo/tools/environment.sh")
    bash(script, **fake)
    before = Path(fake["FAKE_LOG"]).read_text()
    with (tmp_path / "repo/tools/requirements/test.txt").open("a") as file:
        file.write("another==1.0\n")
    assert bash(script, **fake).returncode == 0
    assert Path(fake["FAKE_LOG"]).read_text() == before * 2


def test_the_tests_bring_what_site_and_examples_need_where_they_are_asked_to(fake):
    assert bash("run_tests.sh", **fake).returncode == 0
    plain = Path(fake["FAKE_LOG"]).read_text()
    assert "docs.txt" not in plain and "examples.txt" not in plain
    assert bash("run_tests.sh", **fake, AUSAM_EXTRAS="1").returncode == 0
    more = Path(fake["FAKE_LOG"]).read_text().removeprefix(plain).splitlines()
    assert [line.rpartition("/")[2] for line in more] == ["docs.txt", "examples.txt"]


def test_no_suitable_python_is_one_sentence_and_leaves_nothing(tmp_path):
    failed = bash("environment.sh", PYTHON="/bin/false", AUSAM_VENV=str(tmp_path / "venv"))
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: /bin/false is no Python 3.10")
    assert failed.stderr.count("\n") == 1
    assert not (tmp_path / "venv").exists()


def test_dist_train_starts_torchrun_as_mmpose_does():
    done = bash("dist_train.sh", "config.py", "8", "--amp", PYTHON="echo", PORT="1234", NNODES="2")
    words = done.stdout.split()
    assert words[:2] == ["-m", "torch.distributed.run"]
    for word in ("--nnodes=2", "--node_rank=0", "--master_port=1234", "--nproc_per_node=8"):
        assert word in words
    assert words[-5:] == [f"{ROOT}/tools/train.py", "config.py", "--launcher", "pytorch", "--amp"]


def test_dist_test_starts_torchrun_as_mmpose_does():
    words = bash("dist_test.sh", "config.py", "a.pth", "2", PYTHON="echo").stdout.split()
    assert "--nproc_per_node=2" in words
    assert words[-5:] == [
        f"{ROOT}/tools/test.py",
        "config.py",
        "a.pth",
        "--launcher",
        "pytorch",
    ]


@pytest.mark.parametrize(
    "script, last",
    [
        (
            "slurm_train.sh",
            ["train.py", "config.py", "--work-dir=four", "--launcher=slurm", "--amp"],
        ),
        ("slurm_test.sh", ["test.py", "config.py", "four", "--launcher=slurm", "--amp"]),
    ],
)
def test_slurm_scripts_ask_for_the_gpus(tmp_path, script, last):
    srun = tmp_path / "srun"
    srun.write_text('#!/bin/sh\necho "$@"\n')
    srun.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GPUS": "16", "SRUN_ARGS": "--mem 8G"}
    words = bash(script, "part", "job", "config.py", "four", "--amp", **env).stdout.split()
    for word in ("--ntasks=16", "--gres=gpu:8", "--cpus-per-task=5", "--mem", "8G"):
        assert word in words
    assert [Path(words[-len(last)]).name, *words[1 - len(last) :]] == last


@pytest.mark.parametrize(
    "script", ["dist_train.sh", "dist_test.sh", "slurm_train.sh", "slurm_test.sh"]
)
def test_a_script_without_arguments_says_how_to_use_it(script):
    done = bash(script)
    assert done.returncode == 2
    assert done.stderr.startswith("error: usage: ") and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_two_processes_train_under_torchrun(toy_config, tmp_path):
    work = tmp_path / "work"
    env = {"PYTHON": sys.executable, "PORT": "29631"}
    done = bash("dist_train.sh", str(toy_config), "2", "--work-dir", str(work), **env)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (work / "epoch_2.pth").is_file()


def test_the_quickstart_says_what_it_takes_before_it_installs_anything(fake):
    said = bash("quickstart.sh", "--help", **fake)
    assert said.returncode == 0 and "--minutes" in said.stdout and "--again" in said.stdout
    assert not Path(fake["AUSAM_VENV"]).exists()
