"""What a second pass runs again is what the first one trained, or the run says why it cannot."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.hooks import Hook
from torch import nn

from ausam_core import SAM as PlainSAM
from ausam_core.errors import AusamError
from ausam_core.mmengine import METHODS, AUSAMHook
from tests.ausam_core.mmengine.tiny import STOCK, Net, Points, flat, lines_of, make_runner, train

RANDOM = dict(type="UniformSelection", alpha=0.5)


def collated(change):
    """A loader whose collate function makes of (inputs, labels) what it likes."""

    def collate(samples):
        inputs = torch.stack([s["inputs"] for s in samples])
        return change(inputs, [s["data_samples"] for s in samples])

    return dict(collate_fn=collate)


class Pairs(Net):
    """Takes each sample with its label from an array, as they come."""

    def forward(self, inputs, labels, mode="tensor"):
        self.lengths = getattr(self, "lengths", []) + [(len(inputs), len(labels))]
        samples = [SimpleNamespace(label=int(label)) for label in labels]
        return super().forward(inputs, samples, mode)


def test_arrays_are_cut_as_tensors_are(tmp_path):
    model = Pairs()
    loader = collated(lambda x, s: dict(inputs=x, labels=np.array([e.label for e in s])))
    train(tmp_path, model=model, loader=loader, wrapper=STOCK, hooks=[AUSAMHook(selection=RANDOM)])
    assert set(model.lengths) == {(4, 4)}


def own_class(x, samples):
    return dict(batch=SimpleNamespace(inputs=x, samples=samples))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (own_class, "holds nothing that counts samples"),
        (lambda x, s: dict(inputs=x[1:], data_samples=s[1:]), "8 samples were loaded, .* holds 7"),
    ],
)
def test_a_batch_that_cannot_be_cut_is_refused(change, found, tmp_path):
    hook = AUSAMHook(selection=RANDOM)
    with pytest.raises(AusamError, match=found):
        train(tmp_path, loader=collated(change), wrapper=STOCK, hooks=[hook])


class Adds(Net):
    def train_step(self, data, optim_wrapper):
        with optim_wrapper.optim_context(self):
            losses = self._run_forward(self.data_preprocessor(data, True), mode="loss")
            losses["loss_decay"] = sum(p.square().sum() for p in self.parameters())
        loss, log = self.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return log


def test_a_train_step_of_its_own_is_refused_but_for_the_base_optimizer(tmp_path):
    with pytest.raises(AusamError, match=r"Adds has a train_step of its own, .* leave train_step"):
        train(tmp_path, model=Adds(), wrapper=STOCK, hooks=[AUSAMHook(alpha=1)])
    base = dict(STOCK, type="SAMOptimWrapper", method=dict(type="Base"))
    train(tmp_path, model=Adds(), wrapper=base)


class InPlace(Net):
    def forward(self, inputs, data_samples=None, mode="tensor"):
        for x in inputs:
            x.mul_(0.5)
        return super().forward(inputs, data_samples, mode)


def test_a_forward_that_changes_the_batch_is_refused(tmp_path):
    with pytest.raises(AusamError, match="InPlace changed the batch in place"):
        train(tmp_path, model=InPlace(), wrapper=STOCK, hooks=[AUSAMHook(alpha=1)])


class Looks(Hook):
    """Computes a loss of its own in training mode, between two steps."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        data = runner.model.data_preprocessor(data_batch, True)
        with torch.no_grad():
            runner.model(**data, mode="loss")


@pytest.mark.parametrize("kind", ["SAM", "MSAM", "ESAM", "KSAM"])
def test_a_loss_computed_for_others_is_no_first_pass(kind, tmp_path):
    found = []
    for more in ([], [Looks()]):
        hooks = [AUSAMHook(method=dict(type=kind), alpha=1), *more]
        found.append(train(tmp_path, model=Net(norm=nn.LayerNorm), wrapper=STOCK, hooks=hooks))
    assert torch.equal(*(flat(runner.model) for runner in found))
    assert all(p.requires_grad for p in found[1].model.parameters())


class Mosaic:
    def __call__(self, info):
        return info


class Chooses:
    """As mmcv's RandomChoice: a list of pipelines."""

    def __init__(self, *pipelines):
        self.transforms = [Compose(list(pipeline)) for pipeline in pipelines]

    def __call__(self, info):
        return self.transforms[0](info)


def test_mixing_is_found_within_transforms(tmp_path):
    pipeline = [Chooses([Chooses([Mosaic()])], []), *Points().pipeline.transforms]
    with pytest.raises(AusamError, match="Mosaic mixes samples"):
        train(tmp_path, pipeline=pipeline, wrapper=STOCK, hooks=[AUSAMHook(alpha=0.5)])


@METHODS.register_module()
class TakesLittle(PlainSAM):
    def __init__(self, optimizer, model, rho=0.05, start=0.0):
        super().__init__(optimizer, model, rho=rho, start=start)


def test_a_method_need_not_take_what_the_run_does_not_give(tmp_path):
    method = dict(type="TakesLittle")
    train(tmp_path, wrapper=STOCK, hooks=[AUSAMHook(method=method, alpha=1)])
    wrapper = dict(STOCK, type="AmpOptimWrapper", dtype="bfloat16")
    with pytest.raises(AusamError, match=r"TakesLittle does not take scaler, .* \*\*kwargs"):
        train(tmp_path, wrapper=dict(wrapper, type="SAMAmpOptimWrapper", method=method))


def test_two_hooks_are_refused(tmp_path):
    with pytest.raises(AusamError, match="two hooks AUSAMHook"):
        train(tmp_path, wrapper=STOCK, hooks=[AUSAMHook(alpha=1), AUSAMHook(alpha=0.5)])


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(Points())


def test_a_stream_is_refused(tmp_path):
    with pytest.raises(AusamError, match="Stream has no length"):
        settings = dict(loader=dict(sampler=None), train_cfg=dict(by_epoch=False, max_iters=3))
        hooks = [AUSAMHook(alpha=1)]
        train(tmp_path, dataset=Stream(), wrapper=STOCK, hooks=hooks, **settings)


def test_one_loss_module_may_be_named_alone(tmp_path):
    hook = AUSAMHook(alpha=0.5, rho=0.1, loss_modules="loss_module")
    runner = make_runner(tmp_path, wrapper=STOCK, hooks=[hook])
    lines = lines_of(runner)
    runner.train()
    assert not lines and runner.optim_wrapper.last_result.before is not None


def test_scalars_are_logged_at_the_end_of_an_epoch_that_is_shorter_than_the_interval(tmp_path):
    runner = train(tmp_path, wrapper=STOCK, hooks=[AUSAMHook(selection=RANDOM)], interval=100)
    assert runner.message_hub.get_scalar("train/share_trained").current() == 0.5
