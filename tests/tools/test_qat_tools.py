"""tools/diagnose_qat.py on the small sample of CIFAR-10."""

import pytest


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
