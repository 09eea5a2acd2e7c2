"""The training accuracy is computed where the log shows it, and changes nothing else."""

import functools
import sys
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ausam_core.passes import second_pass
from tasks.pose import TrainingAccuracyHook
from tasks.pose.training_accuracy import _head_modules

CONFIGS = Path(__file__).parents[3] / "configs"
SIMCC = "mmpose.models.heads.coord_cls_heads.simcc_head"


class Recorder(Hook):
    """Keeps loss, accuracy and what the log would show of every iteration."""

    priority = "LOWEST"

    def __init__(self):
        self.rows = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        shown = runner.message_hub.get_scalar("train/acc_pose").current()
        self.rows.append((outputs["loss"].item(), outputs["acc_pose"].item(), shown))


def runner(tmp_path: Path, hooks: list, *, name: str = "adam_mini", interval: int = 3) -> Runner:
    """A run of seven iterations of the small model at a small size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cfg = Config.fromfile(CONFIGS / f"simcc_mpii_{name}.py")
        cfg.work_dir = str(tmp_path)
        cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
        cfg.param_scheduler = []
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
        cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
        cfg.model.backbone.update(base_channels=8, stem_channels=8)
        cfg.model.head.update(in_channels=8 * 2 ** (cfg.model.backbone.num_stages - 1))
        cfg.train_dataloader.update(batch_size=8, num_workers=0, persistent_workers=False)
        cfg.train_dataloader.dataset.indices = 56
        cfg.default_hooks.logger.interval = interval
        cfg.default_hooks.checkpoint = None
        cfg.randomness = dict(seed=0)
        cfg.custom_hooks = hooks
        return Runner.from_cfg(cfg)


@pytest.fixture
def calls(monkeypatch) -> list:
    """One entry for every call of the real accuracy."""
    seen = []
    head = sys.modules.get(SIMCC) or __import__(SIMCC, fromlist=["simcc_pck_accuracy"])
    real = head.simcc_pck_accuracy

    @functools.wraps(real)
    def counted(*args, **kwargs):
        seen.append(kwargs["output"][0].shape)  # a NumPy array, so it was converted
        return real(*args, **kwargs)

    monkeypatch.setattr(head, "simcc_pck_accuracy", counted)
    return seen


def rows(tmp_path: Path, hooks: list, **options) -> list[tuple[float, float, float]]:
    recorder = Recorder()
    run = runner(tmp_path, hooks, **options)
    run.register_hook(recorder)
    run.train()
    return recorder.rows


def test_losses_are_equal_and_logged_accuracies_are_those_of_a_run_without_the_hook(
    tmp_path, calls
):
    stock = rows(tmp_path, [])
    assert len(stock) == len(calls) == 7
    calls.clear()
    ours = rows(tmp_path, [dict(type="TrainingAccuracyHook")])
    assert [row[0] for row in ours] == [row[0] for row in stock]
    # the first, to have a value at all; 3 and 6 by the interval; 7 ends the epoch
    assert len(calls) == 4
    for i in (0, 2, 5, 6):
        assert ours[i] == stock[i]
    assert [row[1] for row in ours[:5]] == [ours[0][1]] * 2 + [ours[2][1]] * 3
    assert len({row[1] for row in stock}) > 2  # else the line above says nothing


def test_pass_two_of_sam_computes_no_accuracy(tmp_path, calls):
    with_hook = dict(name="sam_mini", interval=1)
    optim = [dict(type="TrainingAccuracyHook")]
    ours = rows(tmp_path, optim, **with_hook)
    assert len(ours) == len(calls) == 7
    calls.clear()
    stock = rows(tmp_path, [], **with_hook)
    assert len(calls) == 14
    assert ours == stock


def test_names_are_restored_after_each_forward_and_after_an_error(tmp_path, calls):
    head = sys.modules[SIMCC]
    before = head.simcc_pck_accuracy, head.to_numpy
    run = runner(tmp_path, [dict(type="TrainingAccuracyHook")])
    run.train()
    assert (head.simcc_pck_accuracy, head.to_numpy) == before
    hook = next(h for h in run.hooks if isinstance(h, TrainingAccuracyHook))
    hook.before_train(run)
    run.model.train()
    with pytest.raises(Exception, match="data_samples|NoneType"):
        run.model(torch.zeros(2, 3, 64, 64), None, mode="loss")
    assert (head.simcc_pck_accuracy, head.to_numpy) == before
    hook.after_train(run)
    assert not run.model._forward_hooks and not run.model._forward_pre_hooks


def test_the_second_pass_repeats_the_first_and_evaluation_is_untouched(tmp_path, calls):
    run = runner(tmp_path, [])
    hook = TrainingAccuracyHook()
    hook.before_train(run)
    batch = run.model.data_preprocessor(next(iter(run.train_dataloader)), training=True)
    run.model.train()
    first = run.model(**batch, mode="loss")
    with second_pass():
        second = run.model(**batch, mode="loss")
    assert len(calls) == 1 and second["acc_pose"] == first["acc_pose"]
    run.model.eval()
    with torch.no_grad(), second_pass():
        run.model(**batch, mode="loss")
        assert len(calls) == 2
        assert run.model(**batch, mode="predict")[0].pred_instances.keypoints.shape == (1, 16, 2)
    hook.after_train(run)


HEADS = {
    "SimCCHead": dict(in_channels=8, input_size=(32, 32), in_featuremap_size=(8, 8)),
    "RTMCCHead": dict(
        in_channels=8,
        input_size=(32, 32),
        in_featuremap_size=(8, 8),
        gau_cfg=dict(
            hidden_dims=8,
            s=8,
            expansion_factor=2,
            dropout_rate=0.0,
            drop_path=0.0,
            act_fn="SiLU",
            use_rel_bias=False,
            pos_enc=False,
        ),
    ),
    "HeatmapHead": dict(in_channels=8, deconv_out_channels=None),
    "RegressionHead": dict(in_channels=8, num_joints=16),
    "RLEHead": dict(in_channels=8, num_joints=16),
}


@pytest.mark.parametrize("kind", HEADS)
def test_heads_of_every_family_are_found(kind):
    import mmpose.models  # noqa: F401
    from mmpose.registry import MODELS

    options = dict(HEADS[kind])
    if "num_joints" not in options:
        options["out_channels"] = 16
    if kind == "SimCCHead":
        options["deconv_out_channels"] = None
    head = MODELS.build(dict(type=kind, **options))
    found = _head_modules(torch.nn.Sequential(head))
    assert type(head).__module__ in {part.module.__name__ for part in found}
    for part in found:
        assert all(name.endswith("accuracy") for name in part.accuracies)
