"""tools/qat.py from a checkpoint of tools/train.py to a verified file, and what it refuses."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

TOOLS = Path(__file__).parents[2] / "tools"
sys.path.insert(0, str(TOOLS))  # as python tools/qat.py does


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from tests.tasks.qat.mmengine.runs import config, train

    folder = tmp_path_factory.mktemp("qat")
    cfg = config("resnet18_slim_sgd", folder, epochs=1, float_checkpoint=None, from_scratch=True)
    train(cfg)
    return folder / "epoch_1.pth"


@pytest.fixture(scope="module")
def qat():
    spec = importlib.util.spec_from_file_location("tool_qat", TOOLS / "qat.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def exported(qat, checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    qat.main(["export", str(checkpoint), "-o", str(path)])
    return path


@pytest.mark.parametrize(
    "flags", [[], ["--style", "qdq"], ["--weights", "int8"], ["--input", "pixels"]]
)
def test_what_is_exported_is_verified(qat, checkpoint, tmp_path, flags, capsys):
    path = tmp_path / "model.onnx"
    qat.main(["export", str(checkpoint), *flags, "-o", str(path)])
    qat.main(["verify", str(path)])
    said = capsys.readouterr().out
    assert "100 images" in said and said.rstrip().endswith("verified")
    assert said.count("top-1 accuracy of the") == 3
    if "qdq" not in flags:
        assert "logits equal to the bit on 100 of 100 images" in said


def test_the_file_says_what_it_takes_and_gives(exported):
    import onnx

    model = onnx.load(str(exported))
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["mean"]) == [125.307, 122.950, 113.865]
    assert json.loads(facts["classes"])[:2] == ["airplane", "automobile"]
    assert "metadata" in model.doc_string
    assert model.graph.input[0].doc_string == "normalised images, fp32, [N, C, H, W]"


def test_a_file_that_was_tampered_with_ends_with_code_one(qat, exported, tmp_path, capsys):
    import onnx

    model = onnx.load(str(exported))
    step = next(t for t in model.graph.initializer if t.name == "activations.fc.step")
    value = onnx.numpy_helper.to_array(step) * 1.01
    step.CopyFrom(onnx.numpy_helper.from_array(value, step.name))
    path = tmp_path / "tampered.onnx"
    onnx.save(model, str(path))
    with pytest.raises(SystemExit) as ended:
        qat.main(["verify", str(path)])
    assert ended.value.code == 1
    assert "BROKEN: 1 of 1 values of activations.fc.step differ" in capsys.readouterr().out


def test_the_report_is_printed_and_written(qat, checkpoint, tmp_path, capsys):
    qat.main(["report", str(checkpoint), "--no-speed", "-o", str(tmp_path / "report")])
    text = capsys.readouterr().out
    assert "layer4.1.conv2" in text and "W2A4" in text
    assert (tmp_path / "report/report.txt").read_text() == text
    assert len(json.loads((tmp_path / "report/report.json").read_text())["layers"]) == 21
    assert (tmp_path / "report/report.png").stat().st_size > 10_000


def test_the_report_times_the_files_beside_the_float_one(qat, checkpoint, tmp_path, capsys):
    qat.main(["report", str(checkpoint), "-o", str(tmp_path / "report")])
    rows = json.loads((tmp_path / "report/report.json").read_text())["speed"]
    names = [row["file"] for row in rows]
    assert names == ["float", "exact, int2", "qdq, int8", "ONNX Runtime's own QDQ"]
    assert rows[0]["ratio_to_float"] == 1
    assert all(0 < row["ms_low"] <= row["ms"] <= row["ms_high"] for row in rows)
    text = capsys.readouterr().out
    assert all(name in text for name in names)


def test_nothing_is_overwritten(qat, checkpoint, exported, tmp_path, fails_with):
    before = exported.read_bytes()
    assert "exists" in fails_with(qat.main, "export", checkpoint, "-o", exported)
    assert exported.read_bytes() == before
    (tmp_path / "note").write_text("mine")
    assert "not empty" in fails_with(qat.main, "report", checkpoint, "-o", tmp_path)


def test_what_it_cannot_use_is_one_sentence(qat, checkpoint, exported, tmp_path, fails_with):
    out = tmp_path / "model.onnx"
    gone = tmp_path / "gone.pth"
    assert "no checkpoint" in fails_with(qat.main, "export", gone, "-o", out)
    half = tmp_path / "half.pth"
    half.write_bytes(checkpoint.read_bytes()[:5000])
    assert "truncated" in fails_with(qat.main, "export", half, "-o", out)
    state = torch.load(checkpoint, weights_only=True)
    bare = tmp_path / "bare.pth"
    torch.save(dict(state_dict=state["state_dict"]), bare)
    assert "holds no configuration" in fails_with(qat.main, "export", bare, "-o", out)
    name = "net.body.activations.fc.step"
    state["state_dict"][name] = torch.zeros(())
    torch.save(state, bare)
    assert "never calibrated" in fails_with(qat.main, "export", bare, "-o", out)
    del state["state_dict"][name]
    torch.save(state, bare)
    assert f"{name} is missing" in fails_with(qat.main, "export", bare, "-o", out)
    lost = fails_with(qat.main, "verify", exported, "--checkpoint", gone)
    assert "--checkpoint" in lost
    assert not out.exists()


@pytest.mark.parametrize("count", [0, -3])
def test_a_file_is_verified_on_one_image_or_more(qat, exported, count, fails_with):
    said = fails_with(qat.main, "verify", exported, "--images", count)
    assert f"--images must be 1 or more, found {count}" in said


def test_whoever_reads_the_output_may_stop():
    script = f"import sys; sys.path.insert(0, {str(TOOLS)!r}); from _common import run_tool; "
    script += "run_tool(lambda: [print('x' * 99) for _ in range(9999)])"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_the_diagnosis_prints_a_line_for_each_place_of_epsilon(qat, checkpoint, capsys):
    qat.main(["diagnose", str(checkpoint), "--images", "32", "--batch-size", "16"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines[1:]] == ["latent", "quantized"]
    assert all(-1 <= float(line.split("correlation")[1].split()[0]) <= 1 for line in lines[1:])
    assert "of the codes flipped" in lines[1]


def test_the_diagnosis_refuses_fewer_images_than_a_batch(qat, checkpoint, fails_with):
    said = fails_with(qat.main, "diagnose", checkpoint, "--images", 4, "--batch-size", 16)
    assert "--images" in said


def test_weights_of_another_size_are_refused_by_name(qat, checkpoint, fails_with):
    said = fails_with(qat.main, "report", checkpoint, "--cfg-options", "model.net.num_classes=7")
    assert "do not fit" in said and "(10," in said and "(7," in said
