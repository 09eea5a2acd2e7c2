"""tools/diagnose_qat.py and tools/compare_qat.py on the small sample of CIFAR-10."""

import json
from pathlib import Path

import pytest

from tests.tasks.qat.runs import SAMPLE


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from tests.tasks.qat.runs import config, train

    folder = tmp_path_factory.mktemp("qat")
    cfg = config("resnet18_slim_sgd", folder, epochs=1, float_checkpoint=None, from_scratch=True)
    train(cfg)
    return folder / "epoch_1.pth"


def test_the_diagnostic_prints_a_line_for_each_place_of_epsilon(tool, checkpoint, capsys):
    tool("diagnose_qat").main([str(checkpoint), "--images", "32", "--batch-size", "16"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines[1:]] == ["latent", "quantized"]
    assert all(-1 <= float(line.split("correlation")[1].split()[0]) <= 1 for line in lines[1:])
    assert "of the codes flipped" in lines[1]


def test_the_diagnostic_refuses_fewer_images_than_a_batch(tool, checkpoint, fails_with):
    said = fails_with(tool("diagnose_qat").main, checkpoint, "--images", 4, "--batch-size", 16)
    assert "--images" in said


def test_a_comparison_writes_a_row_for_each_method_and_goes_on_from_what_is_there(
    tool, tmp_path, monkeypatch, capsys
):
    compare = tool("compare_qat")
    monkeypatch.setattr(compare, "ROOT", tmp_path)
    asked = []

    def finished(command, **_):
        folder = Path(command[command.index("--work-dir") + 1])
        asked.append(folder.name)
        (folder / "now/vis_data").mkdir(parents=True)
        lines = [{"images_per_s": 100}, {"accuracy/top1": 70.0 + int(folder.name[-1] == "1")}]
        text = "\n".join(map(json.dumps, lines))
        (folder / "now/vis_data/scalars.json").write_text(text)
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(compare.subprocess, "run", finished)
    args = ["--data", SAMPLE, "--out", str(tmp_path / "out"), "--seeds", "0", "1"]
    compare.main([*args, "--methods", "sgd", "ausamx2"])
    compare.main([*args, "--methods", "sgd", "ausamx2"])
    runs = ["sgd_0", "sgd_1", "ausamx2_0", "ausamx2_1"]
    assert asked == ["resnet18_float", *(f"resnet18_{run}" for run in runs)]
    table = (tmp_path / "out/resnet18.md").read_text()
    assert "| W2A4, sgd | 70.50 ± 0.71 | 100 |" in table and "ausamx2" in table


def test_a_comparison_without_data_is_refused(tool, tmp_path, monkeypatch, fails_with):
    compare = tool("compare_qat")
    monkeypatch.setattr(compare, "ROOT", tmp_path)
    said = fails_with(compare.main, "--data", tmp_path / "no", "--out", tmp_path / "out")
    assert "data_batch_1 is not there" in said
