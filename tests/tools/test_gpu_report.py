"""The reports' parts are done once, go on where they were stopped, and can be tried without a GPU.

On a GPU they have not been run by these tests: what they would measure there is not claimed here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from _common import ROOT, load_config
from _gpu_report.__main__ import main
from _gpu_report.page import page
from _gpu_report.parts import Part, report_parts, table2_methods, table2_parts
from _gpu_report.records import run_parts

from ausam_core.errors import AusamError


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def counting(name="count", code=0, **kwargs):
    """A part that notes each time it is run."""
    script = (
        "import sys; open(sys.argv[1] + '/runs', 'a').write('x'); print('bad luck'); "
        f"sys.exit({code})"
    )
    return Part(
        name, ("-c", script, "{folder}"), lambda folder: dict(runs=len(runs(folder))), **kwargs
    )


def runs(folder):
    return (folder / "runs").read_text()


def test_a_part_is_done_once_and_its_record_read_the_next_time(tmp_path):
    records = [run_parts([counting()], tmp_path, "here", 1, True)[0] for _ in range(2)]
    assert records[0] == records[1]
    assert records[0]["status"] == "done" and records[0]["result"] == dict(runs=1)


def test_a_part_that_fails_says_why_and_is_tried_again(tmp_path):
    for expected in ("x", "xx"):
        (record,) = run_parts([counting(code=3)], tmp_path, "here", 1, True)
        assert record["status"] == "failed" and record["why"] == "3: bad luck"
        assert runs(tmp_path / "parts/count") == expected


def test_when_time_is_up_the_rest_is_left_for_the_next_call(tmp_path):
    parts = [counting("one"), counting("two")]
    first = run_parts(parts, tmp_path, "here", 1e-9, True)
    assert {r["status"] for r in first} == {"left"}
    assert [r["status"] for r in run_parts(parts, tmp_path, "here", 1, True)] == ["done"] * 2


def test_a_part_that_hangs_is_stopped(tmp_path):
    part = Part("hangs", ("-c", "import time; time.sleep(600)"), lambda folder: {})
    # The limit of a part is twice the time of the whole.
    (record,) = run_parts([part], tmp_path, "here", 1 / 120, True)
    assert record["status"] == "failed" and "stopped after 1 seconds" in record["why"]


def test_what_cannot_run_here_is_named_and_not_run(tmp_path):
    (record,) = run_parts([counting(skip="no GPU")], tmp_path, "here", 1, True)
    assert record == dict(name="count", status="skipped", why="no GPU")
    assert "| count | not run here | no GPU |" in page("Title", "here", [record], False)


@pytest.mark.parametrize(
    "change, says",
    [
        (dict(machine="there"), "of another machine"),
        (dict(digest="0"), "of another command"),
        (None, "is not whole"),
    ],
)
def test_records_of_something_else_are_refused(change, says, tmp_path):
    run_parts([counting()], tmp_path, "here", 1, True)
    path = tmp_path / "parts/count.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, **change}) if change else path.read_text()[:-20])
    with pytest.raises(AusamError, match=says):
        run_parts([counting()], tmp_path, "here", 1, True)
    assert runs(tmp_path / "parts/count") == "x"


def test_the_report_covers_what_it_promises():
    parts = {part.name: part for part in report_parts(cpu=False, tiny=False)}
    assert not any(part.skip for part in parts.values())
    assert next(iter(parts)) == "tests-marked-gpu"
    for task in ("classification", "qat"):
        for end in ("fp32", "bf16", "fp32-compiled", "bf16-compiled"):
            command = parts[f"speed-{task}-{end}"].command
            at = command.index("--batch-sizes")
            assert command[at + 1 : at + 4] == ("128", "256", "512")
            assert ("compile=True" in command) == end.endswith("compiled")
    assert {f"speed-pose-bf16-{size}" for size in (128, 256, 512)} <= parts.keys()
    for method in ("sgd", "sam", "ausam-0.5", "late-0.75_ausam-0.5"):
        assert f"run-resnet18-{method}" in parts


@pytest.mark.parametrize("tiny", [False, True])
def test_every_command_names_settings_that_its_config_has(tool, tiny):
    """An override of a key that is not there would be taken without a word."""
    train = tool("train")
    for part in [*report_parts(False, tiny), *table2_parts([0], False, tiny)]:
        if part.command[0] != "tools/train.py":
            continue
        args = train.parse_args(list(part.command[1:]))
        have = load_config(args.config)
        for key in args.cfg_options:
            parent, _, last = key.rpartition(".")
            place = have
            for word in parent.split("."):
                place = place[int(word) if word.isdigit() else word]
            assert last in place or last in ("dtype", "check_digest", "width"), key


def test_table_2_is_every_row_of_its_first_block():
    methods = table2_methods()
    assert methods[:2] == ["sgd", "sam"] and "ausam-0.5" in methods and "looksam-5" in methods
    assert not {"el2n-0.5", "msam", "split"} & set(methods)  # ours, in no table of the paper
    names = [part.name for part in table2_parts([0, 1], False, False)]
    assert len(names) == len(set(names)) == 2 * len(methods)
    options = [part.command for part in table2_parts([1], False, False)]
    assert all("randomness.seed=1" in c and not any("max_epochs" in w for w in c) for c in options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says that there is no GPU")
def test_without_a_gpu_it_is_one_sentence(fails_with, tmp_path):
    assert "--cpu --tiny" in fails_with(main, "report", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "argv, says",
    [
        (["--cpu"], "add --tiny"),
        (["--cpu", "--tiny", "--minutes", "0"], "--minutes must be more than 0"),
        (["--cpu", "--tiny", "--only", "nothing"], "fits no part"),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(fails_with, tmp_path, argv, says):
    assert says in fails_with(main, "report", "--out", tmp_path / "out", *argv)
    assert not (tmp_path / "out").exists()


def dry_run(out, *argv):
    """Both reports' entry, as the shell scripts start it."""
    command = [sys.executable, "-m", "_gpu_report", *argv, "--cpu", "--tiny", "--out", str(out)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}/tools:{ROOT}"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


def test_a_dry_run_writes_both_files_and_says_that_it_measured_nothing(tmp_path):
    done = dry_run(tmp_path, "report", "--only", "tests")
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "report.json").read_text())
    assert about["dry_run"] and {r["status"] for r in about["parts"]} == {"skipped"}
    text = (tmp_path / "report.md").read_text()
    assert "nothing here is a measurement" in text
    assert "| tests-marked-gpu | not run here | needs a GPU |" in text


@pytest.mark.slow
def test_the_whole_dry_run(tmp_path):
    done = dry_run(tmp_path, "report", "--minutes", "60")
    assert done.returncode == 0, done.stderr
    parts = json.loads((tmp_path / "report.json").read_text())["parts"]
    assert {r["status"] for r in parts} == {"done", "skipped"}
    results = {r["name"]: r.get("result") for r in parts}
    assert results["run-resnet18-ausam-0.5"]["epochs"] == 4
    assert len(results["speed-qat-fp32"]["rows"]) == 8


@pytest.mark.slow
def test_table_2_goes_on_from_the_last_epoch(tmp_path):
    argv = ("table2", "--only", "resnet18-sgd-seed0")
    assert dry_run(tmp_path, *argv).returncode == 0
    (tmp_path / "parts/run-resnet18-sgd-seed0.json").unlink()  # as if stopped before the record
    done = dry_run(tmp_path, *argv)
    assert done.returncode == 0, done.stderr
    (record,) = json.loads((tmp_path / "report.json").read_text())["parts"]
    assert record["result"]["epochs"] == 2  # nothing was trained twice
