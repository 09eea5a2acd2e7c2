"""The report counts what is there."""

import json

import pytest
import torch

from tasks.classification.models import MobileNetV1, ResNet
from tasks.qat.convert import convert
from tasks.qat.deploy.export import to_onnx
from tasks.qat.deploy.lower import lower
from tasks.qat.deploy.picture import draw
from tasks.qat.deploy.report import layer_reports, to_dict, to_text, totals
from tests.tasks.qat.nets import quantized


def full(kind):
    torch.manual_seed(0)
    network = convert({"resnet18": ResNet, "mobilenetv1": MobileNetV1}[kind]())
    for quantizer in network.activations().values():
        quantizer.step.data.fill_(0.1)
    return network.eval()


@pytest.mark.slow
def test_resnet18_of_width_64_packs_44_7_megabytes_into_2_8():
    network = full("resnet18")
    whole = totals(network, layer_reports(network, (3, 32, 32)))
    assert whole["fp32_bytes"] == pytest.approx(44.7e6, rel=0.002)
    assert whole["packed_bytes"] == pytest.approx(2.83e6, rel=0.02)
    assert whole["macs"] == pytest.approx(555.4e6, rel=0.002)
    assert whole["parameters"] == 11_164_362


@pytest.mark.parametrize("kind", [pytest.param("resnet18", marks=pytest.mark.slow), "mobilenetv1"])
def test_the_file_is_as_small_as_the_report_says(kind):
    pytest.importorskip("onnx")
    network = full(kind)
    packed = totals(network, layer_reports(network, (3, 32, 32)))["packed_bytes"]
    size = len(to_onnx(lower(network, (3, 32, 32)), (3, 32, 32)).SerializeToString())
    assert packed < size <= 1.05 * packed


def test_codes_clipping_and_noise_are_counted_from_the_weights():
    network = quantized()
    layer = network.body.get_submodule("layer1.conv1")
    with torch.no_grad():
        layer.step.fill_(1.0)
        layer.weight.copy_(
            torch.tensor([-2.0, -1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 3.0]).repeat(72).view(8, 8, 3, 3)
        )
    row = next(r for r in layer_reports(network, (3, 12, 12)) if r.name == "layer1.conv1")
    assert row.histogram == {"-2": 0.125, "-1": 0.125, "0": 0.25, "1": 0.5}
    assert row.clipped == 0.125
    assert row.sqnr == pytest.approx(10 * torch.tensor(17 / 4).log10().item())  # Σw² / Σ(w−ŵ)²
    assert (row.parameters, row.bytes) == (576, 144 + 128)
    assert row.macs == 576 * 144 and row.bops == 576 * 144 * 8


def test_text_json_and_picture(tmp_path):
    network = quantized("depthwise")
    layers = layer_reports(network, (3, 12, 12))
    text = to_text(network, layers)
    assert all(row.name in text for row in layers) and "MB packed" in text
    data = json.loads(json.dumps(to_dict(network, layers), allow_nan=False))
    assert len(data["layers"]) == 6 and data["totals"]["bops"] == sum(r.bops for r in layers)
    draw(layers, tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
