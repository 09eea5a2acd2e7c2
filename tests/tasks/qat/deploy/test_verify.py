"""Verification finds what was changed, and says where."""

import pytest
import torch

from ausam_core.errors import AusamError
from tasks.classification.augment import normalise
from tasks.qat.deploy import rules
from tasks.qat.deploy.export import to_onnx
from tasks.qat.deploy.lower import lower
from tasks.qat.deploy.pixels import take_pixels
from tasks.qat.deploy.verify import read_model, report, verify
from tests.tasks.qat.nets import NETS, quantized

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


STATISTICS = torch.tensor([125.3, 122.9, 113.8]), torch.tensor([62.9, 62.0, 66.7])


def batches(count=2):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 10, (32,), generator=generator)
    made = []
    for i in range(count):
        random = torch.Generator().manual_seed(50 + i)
        pixels = torch.randint(256, (32, 12, 12, 3), generator=random, dtype=torch.uint8)
        made.append((normalise(pixels, *STATISTICS).contiguous(), labels, pixels))
    return made


def written(network, tmp_path, style="exact", change=None):
    model = to_onnx(lower(network), (3, 12, 12), style)
    if change is not None:
        change(model)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return read_model(path)


def constant(model, name):
    return next(t for t in model.graph.initializer if t.name == name)


@pytest.mark.parametrize("style", ["exact", "qdq"])
@pytest.mark.parametrize("kind", NETS)
def test_an_untouched_file_keeps_every_promise(kind, style, tmp_path):
    network = quantized(kind)
    found = verify(network, *written(network, tmp_path, style), batches())
    assert not found.broken and found.images == 64 and "verified" in report(found)
    assert found.accuracy["ONNX file"] == found.accuracy["integer network"]
    if style == "exact":
        assert found.equal == 64 and found.largest == 0
        assert len(found.layers) == len(network.table)
        assert all(differ == 0 < total for differ, total in found.layers.values())
    else:
        assert found.layers.keys() == network.activations().keys()
        flipped, total = (sum(counts) for counts in zip(*found.layers.values(), strict=True))
        assert flipped < 1e-3 * total and "codes that differ" in report(found)


def test_a_network_in_training_mode_is_verified_in_evaluation_and_stays(tmp_path):
    network = quantized()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = verify(network.train(), *written(network, tmp_path), batches())
    assert not found.broken and network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_one_code_that_was_changed_is_found_with_its_layer(tmp_path):
    def flip(model):
        tensor = constant(model, "layer1.conv2.codes")
        data = bytearray(tensor.raw_data)
        data[0] ^= 0b11
        tensor.raw_data = bytes(data)

    network = quantized()
    found = verify(network, *written(network, tmp_path, change=flip), batches())
    text = " ".join(found.broken)
    assert "1 of 576 values of layer1.conv2.codes differ" in text
    assert "the sums of layer layer1.conv2 differ first" in text
    assert found.layers["layer1.conv1"][0] == 0 < found.layers["layer1.conv2"][0]


@pytest.mark.parametrize("style", ["exact", "qdq"])
def test_a_file_that_takes_pixels_normalises_them_to_the_bit(style, tmp_path):
    network = quantized()
    model, facts = written(network, tmp_path, style, lambda m: take_pixels(m, *STATISTICS))
    assert [i.name for i in model.graph.input] == ["pixels"]
    found = verify(network, model, facts, batches(), STATISTICS)
    assert not found.broken and (style == "qdq" or found.equal == 64)
    wrong = STATISTICS[0] + 1, STATISTICS[1]
    found = verify(network, model, facts, batches(), wrong)
    assert "3 of 3 values of pixels.mean differ" in found.broken


def test_codes_that_flip_are_counted_with_their_tensor(tmp_path):
    def coarsen(model):
        tensor = constant(model, "activations.layer1_conv2.step")
        tensor.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 2, tensor.name)
        )

    network = quantized()
    found = verify(network, *written(network, tmp_path, "qdq", coarsen), batches())
    names = list(found.layers)
    first = names.index("activations.layer1_conv2")
    assert sum(differ for differ, _ in list(found.layers.values())[:first]) < 10
    differ, total = found.layers["activations.layer1_conv2"]
    assert differ > 0.01 * total
    assert "1 of 1 values of activations.layer1_conv2.step differ" in found.broken[0]


def test_a_scale_that_was_changed_a_little_is_found(tmp_path):
    def scale(model):
        tensor = constant(model, "layer1.conv1.rescale.multiplier")
        values = onnx.numpy_helper.to_array(tensor) * (1 + 1e-12)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

    network = quantized()
    found = verify(network, *written(network, tmp_path, change=scale), batches())
    assert "8 of 8 values of layer1.conv1.rescale.multiplier differ" in found.broken[0]


def test_a_node_that_was_changed_is_found(tmp_path):
    def unround(model):
        node = next(n for n in model.graph.node if n.name == "activations.fc.rounded")
        node.op_type = "Floor"

    network = quantized()
    found = verify(network, *written(network, tmp_path, change=unround), batches())
    assert any("node activations.fc.rounded (Round)" in line for line in found.broken)
    assert "the logits differ" in " ".join(found.broken)


def test_a_file_of_another_network_is_found(tmp_path):
    network, other = quantized(), quantized(seed=3)
    found = verify(network, *written(other, tmp_path), batches())
    assert len(found.broken) > 10 and "more differences" in report(found)


@pytest.mark.parametrize(
    ("content", "said"), [(b"nonsense" * 99, "no ONNX file"), (None, "there is no file")]
)
def test_what_cannot_be_read_is_refused(content, said, tmp_path):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AusamError, match=said):
        read_model(path)


def test_a_truncated_file_and_a_strange_one_are_refused(tmp_path):
    data = to_onnx(lower(quantized()), (3, 12, 12)).SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(AusamError):
        verify(quantized(), *read_model(path), batches())
    model = onnx.ModelProto.FromString(data)
    model.ClearField("metadata_props")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(AusamError, match="not written by tools/qat.py"):
        read_model(path)


def test_without_images_nothing_is_verified(tmp_path):
    network = quantized()
    with pytest.raises(AusamError, match="no image"):
        verify(network, *written(network, tmp_path), [])


def test_a_network_that_was_lowered_wrong_is_found_although_the_file_repeats_it(
    tmp_path, monkeypatch
):
    def forgets(low, node, input, other, alpha=1):
        return low.tensor(input)  # a residual block without its shortcut

    monkeypatch.setitem(rules.RULES, "add", forgets)
    network = quantized()
    found = verify(network, *written(network, tmp_path), batches())
    assert found.equal == found.images and not found.differences
    assert "codes of activations.layer2_conv1 differ from the training graph's" in found.broken[0]


def test_the_report_tells_how_the_training_graph_agrees(tmp_path):
    network = quantized()
    found = verify(network, *written(network, tmp_path), batches())
    ties, codes = (sum(counts) for counts in zip(*found.training.ties.values(), strict=True))
    assert ties <= 1e-4 * codes and found.training.output < 1e-5
    assert f"training graph and integer network: {ties} of {codes} codes differ" in report(found)
