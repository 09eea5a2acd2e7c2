"""A quantized run in MMEngine: it starts, watches, evaluates, resumes and refuses as promised."""

import logging
import os
import subprocess
import sys

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from ausam_core.errors import AusamError
from tasks.qat.check import check_config
from tasks.qat.mmengine.quantization_hook import KEY
from tasks.qat.oscillation import Oscillation
from tests.tasks.qat.mmengine.runs import ROOT, Kill, config, float_checkpoint, same, train


@pytest.fixture(scope="module")
def floats(tmp_path_factory):
    return str(float_checkpoint(tmp_path_factory.mktemp("float")))


@pytest.fixture(scope="module")
def run(tmp_path_factory, floats):
    """A run of AUSAM over two epochs and everything it logged."""
    folder, lines = tmp_path_factory.mktemp("run"), []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())

    class Listen(Kill):
        def before_run(self, runner):
            runner.logger.addHandler(handler)

    cfg = config("resnet18_slim_ausam", folder / "ausam", float_checkpoint=floats)
    return train(cfg, Listen(-1)), "\n".join(lines)


def saved(runner, epoch):
    path = f"{runner.work_dir}/epoch_{epoch}.pth"
    return torch.load(path, map_location="cpu", weights_only=True)


def test_the_table_of_layers_stands_in_the_log_before_training(run):
    _, log = run
    table, training = log.index("quantized layers:"), log.index("Epoch(train)")
    assert table < training
    assert "layer1.0.conv1         conv    8x8x3x3    s2    u4" in log[table:training]


def test_accuracy_before_and_after_the_reestimation_and_oscillation_are_logged(run):
    _, log = run
    assert log.count("before BatchNorm was re-estimated on 2 batches") == 4  # top 1 and 5, twice
    assert log.count("% of the weights oscillate") == 2


def test_latent_weights_steps_and_batch_norm_have_trained(run, floats):
    runner, _ = run
    start = torch.load(floats, weights_only=True)["state_dict"]
    end = saved(runner, 2)["state_dict"]
    moved = [k for k, v in start.items() if not torch.equal(v, end[k.replace("net.", "net.body.")])]
    assert len(moved) == len(start)
    first = saved(runner, 1)["state_dict"]
    steps = [k for k in end if k.endswith(".step")]
    assert steps and all((end[k] > 0).all() for k in steps)
    assert all(not torch.equal(end[k], first[k]) for k in steps)


def test_what_is_saved_is_what_was_evaluated(run):
    """The checkpoint of an epoch holds the re-estimated statistics."""
    runner, log = run
    runner.load_checkpoint(f"{runner.work_dir}/epoch_2.pth")
    top1 = runner.val_loop.run()["accuracy/top1"]
    assert f"{top1:.2f} after" in log.split("accuracy/top1: ")[-1] or f"{top1:.4f}" in log


def test_half_of_each_batch_was_trained(run):
    runner, log = run
    assert "share_trained: 0.5000" in log
    assert runner.optim_wrapper.last_result.before.shape == (25,)


def test_a_killed_and_resumed_run_equals_one_that_was_never_killed(tmp_path, floats):
    settings = dict(epochs=3, float_checkpoint=floats)
    whole = train(config("resnet18_slim_ausam", tmp_path / "whole", **settings))
    with pytest.raises(KeyboardInterrupt):
        train(config("resnet18_slim_ausam", tmp_path / "killed", **settings), Kill(2))
    cfg = config("resnet18_slim_ausam", tmp_path / "killed", **settings)
    cfg.resume, cfg.model.float_checkpoint = True, "gone.pth"  # no longer needed
    resumed = train(cfg)
    a, b = saved(whole, 3), saved(resumed, 3)
    assert saved(resumed, 2)["meta"]["epoch"] == 2
    for part in ("state_dict", "optimizer", KEY, "ausam"):
        assert a[part] and same(a[part], b[part]), part
    assert (a[KEY]["direction"] != 0).any()


@pytest.mark.slow
def test_mixed_precision_trains_and_its_steps_stay_fp32(tmp_path, floats):
    cfg = config("mobilenetv1_slim_sam", tmp_path, epochs=1, from_scratch=True)
    cfg.optim_wrapper.type = "SAMAmpOptimWrapper"
    runner = train(cfg)
    assert runner.optim_wrapper.cast_dtype == torch.bfloat16
    for name, step in runner.model.net.steps().items():
        assert step.dtype == torch.float32 and step.isfinite().all(), name
    losses = runner.message_hub.get_scalar("train/loss").data[0]
    assert len(losses) == 5 and all(0 < loss < 10 for loss in losses)


@pytest.mark.slow
def test_codes_are_looked_at_once_an_update(tmp_path, floats, monkeypatch):
    looks = []
    monkeypatch.setattr(Oscillation, "count", lambda self: looks.append(1))
    cfg = config("resnet18_slim_ausam", tmp_path, epochs=1, float_checkpoint=floats)
    cfg.optim_wrapper.accumulative_counts = 5
    train(cfg)
    assert len(looks) == 1  # of five batches


@pytest.mark.slow
def test_freezing_that_is_switched_on_at_resume_works(tmp_path, floats):
    settings = dict(epochs=2, float_checkpoint=floats)
    with pytest.raises(KeyboardInterrupt):
        train(config("resnet18_slim_sgd", tmp_path, **settings), Kill(1))
    cfg = config("resnet18_slim_sgd", tmp_path, **settings)
    cfg.resume, cfg.default_hooks.quantization.freezing = True, (0.04, 0.001)
    cfg.optim_wrapper.optimizer.lr = 0.1
    frozen = saved(train(cfg), 2)[KEY]["frozen"]
    weights = sum(layer.weight.numel() for _, layer in torch_net(cfg).layers())
    assert len(frozen) == weights


@pytest.mark.slow
def test_two_bits_start_from_the_weights_of_four_with_steps_of_their_own(tmp_path, floats):
    policy = dict(weight_bits=4, activation_bits=4, first_last=8)
    four = config("resnet18_slim_sgd", tmp_path / "four", epochs=1, float_checkpoint=floats)
    four.model.policy.update(policy)
    train(four)
    two = config("resnet18_slim_sgd", tmp_path / "two", epochs=1)
    two.model.float_checkpoint = str(tmp_path / "four/epoch_1.pth")
    runner = train(two)
    runner.model.net.check_steps()
    layer = runner.model.net.body.get_submodule("layer1.0.conv1")
    start = torch.load(two.model.float_checkpoint, weights_only=True)["state_dict"]
    assert (layer.step > 1.5 * start["net.body.layer1.0.conv1.step"]).all()


def torch_net(cfg):
    return MODELS.build(cfg.model).net


@pytest.mark.slow
@pytest.mark.parametrize("settings", [dict(dampening=(0.0, 0.1)), dict(freezing=(0.04, 0.001))])
def test_dampening_and_freezing_run(tmp_path, floats, settings):
    cfg = config("resnet18_slim_sgd", tmp_path, float_checkpoint=floats)
    cfg.default_hooks.quantization.update(settings)
    cfg.optim_wrapper.optimizer.lr = 0.1
    runner = train(cfg)
    frozen = saved(runner, 2)[KEY]["frozen"]
    assert frozen.any() == ("freezing" in settings)


@pytest.mark.slow
def test_the_quantized_perturbation_runs_with_sam_and_is_refused_without(tmp_path, floats):
    cfg = config("resnet18_slim_sam", tmp_path / "sam", epochs=1, float_checkpoint=floats)
    cfg.default_hooks.quantization.perturb = "quantized"
    runner = train(cfg)
    assert runner.model.net.behaviour.perturb == "quantized"
    assert runner.optim_wrapper.last_result.grad_norm > 0
    cfg = config("resnet18_slim_sgd", tmp_path / "sgd", epochs=1, float_checkpoint=floats)
    cfg.default_hooks.quantization.perturb = "quantized"
    with pytest.raises(AusamError, match="use SAM"):
        train(cfg)


def test_a_parameter_group_decays_latent_weights_alone(run):
    groups = run[0].optim_wrapper.optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [5e-4, 0.0, 0.0]
    assert all(p.dim() > 1 for p in groups[0]["params"])
    assert len(groups[2]["params"]) == len(run[0].model.net.steps())
    assert sum(len(group["params"]) for group in groups) == len(list(run[0].model.parameters()))


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (dict(num_classes=100), r"another number of classes: fc\.\w+ is \[100"),
        (dict(width=16), "another width: conv1.weight"),
        (dict(depth=50), "another architecture: it has"),
    ],
)
def test_a_float_checkpoint_that_does_not_fit_is_refused(tmp_path, net, said):
    cfg = config("resnet18_slim_float", tmp_path)
    cfg.model.net.update(net)
    path = tmp_path / "float.pth"
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), path)
    cfg = config("resnet18_slim_sgd", tmp_path / "run", float_checkpoint=str(path))
    with pytest.raises(AusamError, match=said):
        train(cfg)
    assert not list((tmp_path / "run").glob("*.pth"))


def test_a_start_without_floats_is_refused_unless_asked_for(tmp_path, run):
    with pytest.raises(AusamError, match="from_scratch=True"):
        train(config("resnet18_slim_sgd", tmp_path / "a", float_checkpoint=None))
    quantized = f"{run[0].work_dir}/epoch_2.pth"
    with pytest.raises(AusamError, match="quantized already"):
        train(config("resnet18_slim_sgd", tmp_path / "b", float_checkpoint=quantized))


def test_a_float_checkpoint_under_load_from_is_told_how_to_be_used(tmp_path, floats):
    cfg = config("resnet18_slim_sgd", tmp_path, epochs=1)
    cfg.load_from = floats
    with pytest.raises(AusamError, match=r"holds a float network; .*model.float_checkpoint=FILE"):
        train(cfg)


def test_a_missing_float_checkpoint_is_said_before_anything_is_built(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # here no run has left one
    cfg = config("resnet18_slim_sgd", tmp_path)
    with pytest.raises(AusamError, match="tools/train.py configs/qat/resnet18_slim_float.py"):
        check_config(cfg)
    cfg.model.policy.weight_bits = 1
    with pytest.raises(AusamError, match="from 2 to 8"):
        check_config(cfg)


def test_an_unknown_setting_of_the_policy_is_said_with_those_that_there_are(tmp_path):
    cfg = config("resnet18_slim_sgd", tmp_path)
    cfg.model.policy.bits = 3
    said = "the policy has no setting bits, found bits=3; there are weight_bits, activation_bits"
    with pytest.raises(AusamError, match=said):
        check_config(cfg)


def test_steps_that_became_nan_stop_the_run_by_name(tmp_path, floats):
    class Break(Kill):
        def before_train_epoch(self, runner):
            runner.model.net.steps()["layer2.0.conv1"].data[0] = torch.nan

    cfg = config("resnet18_slim_sgd", tmp_path, epochs=1, float_checkpoint=floats)
    with pytest.raises((AusamError, RuntimeError), match=r"layer2.0.conv1 became nan|not finite"):
        train(cfg, Break(0))
    assert not list(tmp_path.glob("epoch_*.pth"))


@pytest.mark.slow
def test_two_ranks_end_with_the_same_network(tmp_path, floats):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, "-m", "tests.tasks.qat.mmengine.runs", floats, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [torch.load(tmp_path / f"rank{i}.pt", weights_only=True) for i in range(2)]
    start = torch.load(floats, weights_only=True)["state_dict"]
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    parameters = [k for k in ranks[0] if not k.endswith(buffers)]
    assert all(torch.equal(ranks[0][k], ranks[1][k]) for k in parameters)
    assert not torch.equal(ranks[0]["body.fc.weight"], start["net.fc.weight"])
    # every rank re-estimates on the same images
    assert all(torch.allclose(ranks[0][k], ranks[1][k]) for k in ranks[0])


def test_batch_norm_layers_of_the_run_track_again(run):
    layers = [m for m in run[0].model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert layers and all(m.track_running_stats for m in layers)
