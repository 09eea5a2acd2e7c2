"""tools/qat.py with a pose network: export, verify and report, and what it refuses."""

import json

import pytest

pytest.importorskip("mmpose")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from tests.tasks.qat.mmengine.pose.runs import float_checkpoint, quantized_run

    floats = float_checkpoint(tmp_path_factory.mktemp("float"))
    return f"{quantized_run(tmp_path_factory.mktemp('qat'), floats).work_dir}/epoch_2.pth"


def test_verify_prints_pckh_of_all_three_side_by_side(tool, checkpoint, tmp_path, capsys):
    import onnx

    qat, path = tool("qat"), tmp_path / "pose.onnx"
    qat.main(["export", checkpoint, "-o", str(path)])
    facts = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    assert json.loads(facts["codec"])["simcc_split_ratio"] == 2.0
    assert json.loads(facts["joints"])[:2] == ["right_ankle", "right_knee"]
    capsys.readouterr()
    qat.main(["verify", str(path)])
    said = capsys.readouterr().out
    assert "outputs equal to the bit on 12 of 12 images" in said
    lines = [line for line in said.splitlines() if line.startswith("PCKh@0.5 of the")]
    assert [line.split("the ")[1].rsplit(maxsplit=2)[0] for line in lines] == [
        "float network",
        "training graph",
        "ONNX file",
    ]
    assert said.rstrip().endswith("verified")


def test_the_report_has_both_heads(tool, checkpoint, capsys):
    tool("qat").main(["report", checkpoint])
    said = capsys.readouterr().out
    assert "head.mlp_head_x" in said and "head.mlp_head_y" in said and "W4A4" in said


def test_what_needs_pixels_or_labels_is_refused(tool, checkpoint, tmp_path, fails_with):
    main, out = tool("qat").main, tmp_path / "pose.onnx"
    said = fails_with(main, "export", checkpoint, "--input", "pixels", "-o", out)
    assert "--input images" in said and not out.exists()
    assert "class labels" in fails_with(main, "diagnose", checkpoint)
