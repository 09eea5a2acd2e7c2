"""Every pose config builds, is consistent in itself, and differs from its sibling as it says."""

import ast
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

import tasks.pose

CONFIGS = Path(__file__).parents[2] / "configs"
SAMPLE = Path(__file__).parents[1] / "data" / "pose"
POSE = sorted(path.stem for path in CONFIGS.glob("simcc_*.py"))
SHARED = ("model", "param_scheduler", "train_cfg", "val_dataloader", "auto_scale_lr")


def config(name: str) -> Config:
    return Config.fromfile(CONFIGS / f"{name}.py")


def without_download(cfg: Config) -> Config:
    if cfg.model.backbone.get("init_cfg", {}).get("type") == "Pretrained":
        cfg.model.backbone.init_cfg = None
    return cfg


def sizes(node: object) -> set:
    """Every `input_size` anywhere in a config."""
    if isinstance(node, dict):
        own = {tuple(node["input_size"])} if "input_size" in node else set()
        return own.union(*(sizes(value) for value in node.values()))
    if isinstance(node, (list, tuple)):
        return set().union(*(sizes(item) for item in node))
    return set()


def test_the_promised_configs_are_there():
    family = [f"simcc_mpii_{kind}" for kind in ("adam", "sam", "ausam", "ausam-0.6", "ausam_224")]
    family += [f"simcc_mpii_{kind}_mini" for kind in ("adam", "sam", "ausam")]
    family += [
        "simcc_res50_mpii_adam",
        "simcc_res50_mpii_ausam",
        "simcc_custom",
        "simcc_custom_small",
    ]
    family += ["simcc_lite0_adam_mini", "simcc_lite0_ausam_mini"]
    family += ["simcc_lite0_ausam_upright"]
    assert set(family) <= set(POSE)


def without_sizes(node: object) -> object:
    """A config without what depends on the size of the pictures."""
    if isinstance(node, dict):
        return {k: without_sizes(v) for k, v in node.items() if k not in ("input_size", "sigma")}
    return [without_sizes(item) for item in node] if isinstance(node, list) else node


@pytest.mark.parametrize(
    "name, of, size",
    [("lspet_sample_128x128", "lspet_sample", 128), ("mpii_224x224", "mpii_256x256", 224)],
)
def test_data_at_another_size_differ_in_nothing_else(name, of, size):
    """The pipelines and the codec, that is; how many are read at a time may differ."""
    other, base = config(f"_base_/datasets/{name}"), config(f"_base_/datasets/{of}")
    assert sizes(other.to_dict()) == {(size, size)}
    for pipeline in (other.train_pipeline, other.train_dataloader.dataset.pipeline):
        assert pipeline[-2].encoder == other.codec and other.codec.sigma == 6.0
    assert without_sizes(other.to_dict()) == without_sizes(base.to_dict())


@pytest.mark.parametrize("name", POSE)
def test_the_first_line_names_the_table_of_the_paper(name):
    tree = ast.parse((CONFIGS / f"{name}.py").read_text())
    assert "Table 5" in ast.get_docstring(tree).splitlines()[0]


@pytest.mark.parametrize("name", POSE)
def test_one_input_size_runs_through_pipelines_codec_and_head(name):
    cfg = config(name)
    assert len(sizes(cfg.to_dict())) == 1
    head = cfg.model.head
    decoder = cfg.train_dataloader.dataset.pipeline[-2].encoder
    assert head.decoder == decoder == cfg.codec


@pytest.mark.parametrize("name", POSE)
def test_the_model_builds_and_answers_for_every_joint_and_bin(name):
    from mmpose.registry import MODELS

    init_default_scope("mmpose")
    cfg = without_download(config(name))
    model = MODELS.build(cfg.model)
    with torch.no_grad():
        x, y = model(torch.zeros(1, 3, *cfg.codec.input_size), None, mode="tensor")
    bins = int(cfg.codec.input_size[0] * cfg.codec.simcc_split_ratio)
    joints = cfg.num_joints if "custom" in name else 16
    assert x.shape == y.shape == (1, joints, bins)


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("simcc_mpii_sam", "simcc_mpii_adam", {"optim_wrapper"}),
        ("simcc_mpii_ausam", "simcc_mpii_sam", {"train_dataloader", "custom_hooks"}),
        ("simcc_mpii_ausam-0.6", "simcc_mpii_ausam", {"train_dataloader"}),
        ("simcc_mpii_sam_mini", "simcc_mpii_adam_mini", {"optim_wrapper"}),
        ("simcc_mpii_ausam_mini", "simcc_mpii_sam_mini", {"train_dataloader", "custom_hooks"}),
        (
            "simcc_lite0_ausam_mini",
            "simcc_lite0_adam_mini",
            {"optim_wrapper", "train_dataloader", "custom_hooks"},
        ),
        (
            "simcc_res50_mpii_ausam",
            "simcc_res50_mpii_adam",
            {"optim_wrapper", "train_dataloader", "custom_hooks"},
        ),
    ],
)
def test_siblings_differ_only_in_the_method(one, other, differ):
    a, b = config(one).to_dict(), config(other).to_dict()
    assert {key for key in a.keys() | b.keys() if a.get(key) != b.get(key)} == differ
    if "train_dataloader" in differ:
        ours, theirs = a["train_dataloader"], b["train_dataloader"]
        assert {k for k in ours if ours[k] != theirs.get(k)} == {"batch_sampler"}


def test_the_upright_persons_are_trained_longer_and_all_else_as_all():
    upright, every = (config(f"simcc_lite0_ausam_{name}").to_dict() for name in ("upright", "mini"))
    same = ("model", "optim_wrapper", "custom_hooks", "randomness", "val_evaluator", "codec")
    assert all(upright[key] == every[key] for key in same)
    assert upright["train_cfg"]["max_epochs"] == 2 * every["train_cfg"]["max_epochs"]
    assert upright["param_scheduler"][-1]["end"] == upright["train_cfg"]["max_epochs"]


def test_the_paper_settings():
    cfg = config("simcc_mpii_ausam")
    assert cfg.model.backbone.type == "HRNet" and cfg.codec.input_size == (256, 256)
    assert (cfg.train_dataloader.batch_size, cfg.train_cfg.max_epochs) == (64, 210)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("Adam", 1e-3, 1e-4)
    assert cfg.optim_wrapper.method == dict(type="SAM", rho=0.05)
    selection = cfg.train_dataloader.batch_sampler.selection
    assert (selection.alpha, selection.s_min, selection.s_max) == (0.5, 0.1, 1.0)
    assert config("simcc_mpii_ausam-0.6").train_dataloader.batch_sampler.selection.alpha == 0.6


def test_hooks_of_the_base_survive_in_every_config():
    for name in POSE:
        hooks = {hook["type"] for hook in config(name).custom_hooks}
        assert {"SyncBuffersHook", "TrainingAccuracyHook"} <= hooks
        ours = "ausam" in name or "custom" in name or name == "simcc_mpii_late"
        assert ("AUSAMHook" in hooks) == ours


def test_the_mini_config_finds_its_images_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tasks.pose.check_config(config("simcc_mpii_ausam_mini"))


@pytest.mark.parametrize("name", ["simcc_custom", "simcc_custom_small"])
def test_the_config_for_ones_own_data_tests_on_what_it_validates_on(name):
    cfg = config(name)
    assert cfg.test_dataloader == cfg.val_dataloader
    assert cfg.val_dataloader.dataset.ann_file == cfg.val_file
    own = {key: cfg.train_dataloader.dataset[key] for key in cfg.own}
    assert own == cfg.own == {key: cfg.val_dataloader.dataset[key] for key in cfg.own}


def test_a_missing_mpii_is_said_before_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="data/mpii/annotations/mpii_train.json is not there"):
        tasks.pose.check_config(config("simcc_mpii_ausam"))


def shrink(cfg: Config, size: int, stride: int) -> None:
    """Give a config a smaller input everywhere."""
    cfg.codec.input_size = (size, size)
    for split in ("train", "val"):
        for step in cfg[f"{split}_dataloader"].dataset.pipeline:
            if step.type == "TopdownAffine":
                step.input_size = (size, size)
            if step.type == "GenerateTarget":
                step.encoder = cfg.codec
    head = cfg.model.head
    head.update(input_size=(size, size), in_featuremap_size=(size // stride,) * 2)
    head.decoder = cfg.codec


def test_five_real_mpii_images_train_and_evaluate_through_the_full_config(tmp_path):
    cfg = without_download(config("simcc_mpii_ausam"))
    shrink(cfg, size=64, stride=4)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(batch_size=3, num_workers=0, persistent_workers=False, pin_memory=False)
        loader.dataset.update(
            data_root=str(SAMPLE / "mpii"), ann_file="annotations/mpii_sample.json"
        )
    cfg.val_dataloader.dataset.headbox_file = str(SAMPLE / "mpii/annotations/mpii_gt_sample.mat")
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    cfg.train_cfg.update(max_epochs=2, val_interval=1)
    cfg.work_dir = str(tmp_path)
    cfg.randomness = dict(seed=0)
    tasks.pose.check_config(cfg)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runner = Runner.from_cfg(cfg)
        before = {name: p.clone() for name, p in runner.model.named_parameters()}
        runner.train()
    history = runner.message_hub.get_scalar("train/loss")
    assert history.data[0].size == 4 and all(loss == loss for loss in history.data[0])
    assert any(not torch.equal(p, before[name]) for name, p in runner.model.named_parameters())
    assert all(p.isfinite().all() for p in runner.model.parameters())
    scores = runner.message_hub.get_scalar("val/PCK").data[0]
    assert scores.size == 2 and all(0 <= score <= 100 for score in scores)
    assert list(tmp_path.glob("best_PCK_*.pth"))
