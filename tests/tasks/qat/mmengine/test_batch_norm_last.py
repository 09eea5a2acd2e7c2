"""A run whose last epochs train BatchNorm alone: what stands still, and that a resume sees none."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim.scheduler import CosineRestartLR
from torch.nn.parallel import DistributedDataParallel

from ausam_core.errors import AusamError
from ausam_core.schedule import first_epoch
from tasks.qat.mmengine import BatchNormLastHook
from tests.tasks.qat.mmengine.runs import ROOT, Kill, config, same, train
from tests.tasks.qat.nets import quantized

EPOCHS, FIRST = 4, 2


def run(folder, *hooks, start=0.5, resume=False, epochs=EPOCHS):
    """AUSAM from scratch, with dampening and freezing on, without evaluation."""
    cfg = config("resnet18_slim_ausam", folder, epochs=epochs, from_scratch=True)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.randomness, cfg.default_hooks.checkpoint.max_keep_ckpts = dict(seed=0), -1
    cfg.optim_wrapper.optimizer.lr = 0.05
    cfg.default_hooks.quantization.update(dampening=(0.0, 0.1), freezing=(0.04, 0.0))
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), dict(type="BatchNormLastHook", start=start)]
    cfg.resume = resume
    return train(cfg, *hooks)


def state(folder, epoch):
    return torch.load(folder / f"epoch_{epoch}.pth", weights_only=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return run(folder), folder


def changed(folder, before, after):
    a, b = (state(folder, epoch)["state_dict"] for epoch in (before, after))
    return {name for name in a if not torch.equal(a[name], b[name])}


def test_everything_trains_until_its_epoch_and_then_all_but_weights_and_their_steps(whole):
    runner, folder = whole
    net = runner.model.net
    stands = {f"net.body.{name}.{part}" for name, _ in net.layers() for part in ("weight", "step")}
    everything = set(state(folder, 1)["state_dict"]) - {"net.grids"}
    assert changed(folder, 1, FIRST) == everything
    for epoch in range(FIRST + 1, EPOCHS + 1):
        assert changed(folder, epoch - 1, epoch) == everything - stands
    assert all(p.requires_grad for p in net.parameters())


def test_no_code_changes_any_more_though_freezing_is_on(whole):
    a, first, b = (state(whole[1], epoch)["qat"] for epoch in (FIRST, FIRST + 1, EPOCHS))
    # codes are looked at before freezing puts some elsewhere, so those of FIRST are older
    assert torch.equal(first["codes"], b["codes"]) and torch.equal(a["frozen"], b["frozen"])
    assert (b["frequency"] <= first["frequency"]).all() and b["frequency"].any()


@pytest.mark.slow
@pytest.mark.parametrize("killed", [1, 3])
def test_killed_on_either_side_of_the_border_a_resumed_run_equals_the_whole_one(
    whole, killed, tmp_path
):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Kill(killed))
    run(tmp_path, resume=True)
    a, b = state(whole[1], EPOCHS), state(tmp_path, EPOCHS)
    for part in ("state_dict", "optimizer", "qat", "ausam"):
        assert a[part] and same(a[part], b[part]), part


def test_a_share_that_cannot_begin_is_refused(tmp_path):
    with pytest.raises(AusamError, match=r"start=0.9\) begins between two epochs"):
        run(tmp_path, start=0.9, epochs=1)
    with pytest.raises(AusamError, match=r"start is a share of the run, in \[0, 1\); found 1"):
        BatchNormLastHook(start=1)


def test_a_distributed_wrapper_that_waits_for_every_gradient_is_refused():
    wrapper = DistributedDataParallel.__new__(DistributedDataParallel)
    torch.nn.Module.__init__(wrapper)
    wrapper.module, wrapper.find_unused_parameters = torch.nn.Module(), False
    wrapper.module.net = quantized()
    runner = SimpleNamespace(model=wrapper, max_epochs=4, epoch=0)
    with pytest.raises(AusamError, match="set find_unused_parameters=True in the config"):
        BatchNormLastHook().before_train(runner)


def test_in_the_config_the_learning_rate_begins_again_with_batch_norm_alone():
    cfg = Config.fromfile(ROOT / "configs/qat/resnet20_cifar_sgd_bn_last.py")
    hook = cfg.custom_hooks[-1]
    assert [h.type for h in cfg.custom_hooks] == ["AugmentationHook", "AUSAMHook", hook.type]
    first = first_epoch(hook.start, cfg.train_cfg.max_epochs)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.005)
    settings = {k: v for k, v in cfg.param_scheduler[0].items() if k not in ("type", "by_epoch")}
    settings.pop("convert_to_iter_based")
    schedule = CosineRestartLR.build_iter_from_epoch(optimizer, epoch_length=4, **settings)
    rates = []
    for _ in range(4 * cfg.train_cfg.max_epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == rates[4 * first] == 0.005
    assert max(rates[4 * first - 1], rates[-1]) < 1e-5
