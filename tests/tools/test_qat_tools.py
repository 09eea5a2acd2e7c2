"""tools/compare_qat.py on the small sample of CIFAR-10."""

import json
from pathlib import Path

from tests.tasks.qat.mmengine.runs import SAMPLE


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
