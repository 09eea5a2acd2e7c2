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


FORMS = {
    "openvino": ["--target", "openvino"],
    "portable": ["--target", "portable"],
    "qdq": ["--style", "qdq"],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_other_forms_of_both_outputs_keep_their_promises(tool, checkpoint, tmp_path, capsys, form):
    qat, path = tool("qat"), tmp_path / "pose.onnx"
    qat.main(["export", checkpoint, "-o", str(path), *form])
    capsys.readouterr()
    qat.main(["verify", str(path)])
    said = capsys.readouterr().out
    assert "% of the rows" in said and said.rstrip().endswith("verified")


@pytest.mark.parametrize("target", ["openvino", "portable"])
def test_in_openvino_they_do_too(tool, checkpoint, tmp_path, capsys, target):
    pytest.importorskip("openvino")
    qat, path = tool("qat"), tmp_path / "pose.onnx"
    qat.main(["export", checkpoint, "-o", str(path), "--target", target])
    capsys.readouterr()
    qat.main(["verify", str(path), "--engine", "openvino"])
    assert capsys.readouterr().out.rstrip().endswith("verified")


def test_of_the_form_in_8_bits_few_codes_flip_in_a_network_that_is_hardly_trained(
    tool, checkpoint, tmp_path, capsys
):
    """Flips there lead to others; the first layers have few."""
    import onnx

    from tasks.qat.deploy.verify import verify
    from tasks.qat.mmengine.checkpoint import data_of, load_quantized

    qat, path = tool("qat"), tmp_path / "pose.onnx"
    qat.main(["export", checkpoint, "-o", str(path), "--style", "qdq", "--weights", "int8"])
    model, file = load_quantized(checkpoint), onnx.load(str(path))
    facts = {entry.key: entry.value for entry in file.metadata_props}
    found = verify(model.net, file, facts, data_of(model).test_batches(model))
    counts = found.layers["activations.backbone_stem_1_conv"]
    assert counts[0] < 1e-4 * counts[1] and not found.differences and not found.training.broken
    differ, total = (sum(pair) for pair in zip(*found.layers.values(), strict=True))
    assert differ < 0.01 * total and found.agreement > 0.95
