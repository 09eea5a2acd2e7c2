"""Every quantized config builds, and differs from its sibling as it says."""

import ast
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

import tasks.qat.mmengine

CONFIGS = Path(__file__).parents[2] / "configs" / "qat"
ALL = sorted(path.stem for path in CONFIGS.glob("*.py"))
CLASSIFIERS = [name for name in ALL if not name.startswith("simcc")]
POSES = [f"simcc_mini_w4a4_{row}" for row in ("adam", "sam", "ausam")]
FAMILIES = [f"{n}_{k}" for n in ("resnet18", "mobilenetv1") for k in ("cifar", "imstem", "slim")]
GOLDEN = json.loads((Path(__file__).parent / "golden_qat_tables.json").read_text())


def config(name):
    return Config.fromfile(CONFIGS / f"{name}.py")


def test_every_row_of_table_6_is_there_for_both_networks_and_stems():
    rows = ("float", "sgd", "sam", "ausam")
    assert {f"{family}_{row}" for family in FAMILIES for row in rows} <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_the_first_line_names_the_table_of_the_paper(name):
    tree = ast.parse((CONFIGS / f"{name}.py").read_text())
    assert "Table 6" in ast.get_docstring(tree).splitlines()[0]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_network_builds_and_answers_for_ten_classes(name):
    cfg = config(name)
    model = MODELS.build(cfg.model).eval()
    if "float" not in name:
        model.net.behaviour.floats = True
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert isinstance(model, tasks.qat.mmengine.QuantizedClassifier) == ("float" not in name)


@pytest.mark.parametrize("family", FAMILIES)
def test_siblings_differ_only_in_the_method(family):
    a, b, c = (config(f"{family}_{row}").to_dict() for row in ("sgd", "sam", "ausam"))

    def differ(x, y):
        return {key for key in x.keys() | y.keys() if x.get(key) != y.get(key)}

    assert differ(a, b) == {"optim_wrapper"} and differ(b, c) == {"train_dataloader"}
    a["optim_wrapper"].pop("method"), b["optim_wrapper"].pop("method")
    assert a["optim_wrapper"] == b["optim_wrapper"]


@pytest.mark.parametrize("family", FAMILIES)
def test_quantized_training_starts_from_the_float_config_of_its_family(family):
    cfg, floats = config(f"{family}_ausam"), config(f"{family}_float")
    assert cfg.float_config == f"configs/qat/{family}_float.py"
    last = floats.train_cfg.max_epochs
    assert cfg.model.float_checkpoint == f"work_dirs/{family}_float/epoch_{last}.pth"
    assert last % floats.default_hooks.checkpoint.interval == 0
    assert cfg.model.net == floats.model.net
    assert cfg.param_scheduler[0].T_max == cfg.train_cfg.max_epochs
    assert floats.param_scheduler[0].T_max == last


@pytest.mark.parametrize("family", FAMILIES)
def test_the_paper_settings(family):
    cfg = config(f"{family}_ausam")
    optimizer, method = cfg.optim_wrapper.optimizer, cfg.optim_wrapper.method
    assert (optimizer.lr, optimizer.weight_decay, optimizer.momentum) == (0.005, 5e-4, 0.9)
    assert cfg.train_dataloader.batch_size == 128
    assert (method.type, method.rho, method.exclude) == ("SAM", 0.05, [r"\bstep$"])
    chosen = cfg.train_dataloader.batch_sampler.selection
    assert (chosen.alpha, chosen.s_min, chosen.s_max) == (0.5, 0.1, 0.5)
    policy = cfg.model.policy
    assert (policy.weight_bits, policy.activation_bits, policy.first_last) == (2, 4, 8)
    assert cfg.default_hooks.reestimation.batches == 50


@pytest.mark.parametrize("family", ["resnet18_cifar", "mobilenetv1_cifar"])
def test_the_table_of_layers_is_the_golden_one(family):
    model = MODELS.build(config(f"{family}_sgd").model)
    found = [list(row.to_dict().values()) for row in model.net.table]
    assert found == GOLDEN[family]


def test_the_pose_rows_differ_only_in_the_method():
    assert set(POSES) == set(ALL) - set(CLASSIFIERS)
    adam, sam, ausam = (config(name).to_dict() for name in POSES)

    def differ(x, y):
        return {key for key in x.keys() | y.keys() if x.get(key) != y.get(key)}

    assert differ(adam, sam) == {"optim_wrapper"}
    assert differ(sam, ausam) == {"train_dataloader", "custom_hooks"}
    assert sam["optim_wrapper"]["method"] == dict(type="SAM", rho=0.05, exclude=[r"\bstep$"])


def test_a_quantized_pose_run_starts_from_a_float_run_of_the_same_model_and_data():
    cfg = config("simcc_mini_w4a4_ausam")
    floats = Config.fromfile(CONFIGS.parents[1] / cfg.float_config)
    name, last = Path(cfg.float_config).stem, floats.train_cfg.max_epochs
    assert cfg.model.float_checkpoint == f"work_dirs/{name}/epoch_{last}.pth"
    for part in ("backbone", "head", "data_preprocessor", "test_cfg"):
        assert cfg.model[part] == floats.model[part]
    assert cfg.val_dataloader == floats.val_dataloader
    assert cfg.param_scheduler[0].T_max == cfg.train_cfg.max_epochs
    policy = cfg.model.policy
    assert (policy.weight_bits, policy.activation_bits, policy.first_last) == (4, 4, 8)
