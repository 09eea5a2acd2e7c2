"""The float network teaches a run, stays what it was, and goes with the checkpoint."""

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from ausam_core.errors import AusamError
from tasks.qat.mmengine.checkpoint import load_quantized
from tasks.qat.mmengine.float_checkpoint import load_float, read_state
from tests.tasks.qat.mmengine.runs import config, train


def float_state(folder):
    torch.manual_seed(0)
    model = MODELS.build(config("resnet18_slim_float", folder).model)
    path = folder / "float.pth"
    torch.save(dict(state_dict=model.state_dict()), path)
    return path, model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distilled")
    path, model = float_state(folder)
    cfg = config("resnet18_slim_ausam", folder, epochs=1, float_checkpoint=str(path))
    cfg.model.distillation = dict(weight=0.5, temperature=2.0)
    return train(cfg), model, folder / "epoch_1.pth"


def test_the_teacher_is_the_float_network_and_does_not_train(run):
    runner, model, _ = run
    teacher = runner.model.teacher
    expected = model.net.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in teacher.state_dict().items())
    trained = {id(p) for g in runner.optim_wrapper.param_groups for p in g["params"]}
    assert trained and not trained & {id(p) for p in teacher.parameters()}
    assert runner.model.train().net.training and not teacher.training


def test_its_part_is_in_the_loss_of_each_sample(run):
    runner, _, _ = run
    model = runner.model.eval()
    data = dict(inputs=torch.randn(4, 3, 32, 32), labels=torch.arange(4))
    with torch.no_grad():
        whole = model(**data, mode="loss")["loss"]
        teacher, model.teacher = model.teacher, None
        labels = model(**data, mode="loss")["loss"]
        model.teacher = teacher
    assert whole.shape == (4,) and not torch.isclose(whole, labels).any()


def test_the_checkpoint_holds_it(run):
    runner, _, path = run
    model = load_quantized(path)
    inputs = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model.teacher(inputs), runner.model.teacher.eval()(inputs))


def test_a_quantized_teacher_is_refused(run, tmp_path):
    cfg = config("resnet18_slim_sgd", tmp_path)
    cfg.model.policy.update(weight_bits=4)
    cfg.model.distillation = dict()
    with pytest.raises(AusamError, match="name a float checkpoint in model.distill"):
        load_float(MODELS.build(cfg.model), run[2])


def test_arrays_by_name_are_weights_too(tmp_path):
    torch.manual_seed(0)
    floats = MODELS.build(dict(type="CifarResNet", depth=20))
    state = {k: v for k, v in floats.state_dict().items() if not k.endswith("tracked")}
    path = tmp_path / "resnet20.npz"
    np.savez(path, **{name: value.numpy() for name, value in state.items()})
    cfg = config("resnet20_cifar_sgd", tmp_path)
    model = MODELS.build(cfg.model)
    load_float(model, path)
    loaded = model.net.body.get_submodule("layer3.2.conv2").weight
    assert torch.equal(loaded, floats.layer3[2].conv2.weight)
    assert sum(p.numel() for p in floats.parameters()) == 269_722  # He et al.: 0.27 million
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(AusamError, match="truncated"):
        read_state(path)
