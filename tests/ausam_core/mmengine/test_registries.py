"""A user's own method and selection are first-class: by registered name, by class, as an object."""

from __future__ import annotations

import pytest
import torch

from ausam_core import SAM as SAMMethod
from ausam_core import AusamError, GradientNormSelection, Selection
from ausam_core.mmengine import METHODS, SELECTIONS, AUSAMHook
from tests.ausam_core.mmengine.tiny import HALF, SAM, SGD, STOCK, flat, hook_of, train


class HalfRho(SAMMethod):
    """SAM at half the radius that it is told."""

    def __init__(self, optimizer, model, rho=0.1, floor=0.0, **kwargs):
        super().__init__(optimizer, model, max(rho / 2, floor), **kwargs)


class FirstOnes(Selection):
    """Keeps the first samples of each batch."""

    def __init__(self, num_samples, count=3, start=0.0):
        super().__init__(start)
        self.num_samples, self.count = num_samples, count

    def select(self, indices, epoch, generator):
        return torch.arange(min(self.count, len(indices)))


@pytest.fixture
def registered():
    METHODS.register_module(module=HalfRho)
    SELECTIONS.register_module(module=FirstOnes)
    yield
    METHODS.module_dict.pop("HalfRho")
    SELECTIONS.module_dict.pop("FirstOnes")


@pytest.mark.parametrize("kind", ["HalfRho", HalfRho], ids=["name", "class"])
def test_a_method_of_ones_own_trains(kind, registered, tmp_path):
    wrapper = {**SAM, "method": dict(type=kind, rho=0.2)}
    ours = train(tmp_path, wrapper=wrapper, epochs=2)
    sam = train(tmp_path, wrapper=SAM, epochs=2)
    assert type(ours.optim_wrapper.method) is HalfRho
    assert torch.equal(flat(ours.model), flat(sam.model))


@pytest.mark.parametrize("kind", ["FirstOnes", FirstOnes], ids=["name", "class"])
@pytest.mark.parametrize("form", ["in the loop", "before loading"])
def test_a_selection_of_ones_own_chooses(form, kind, registered, tmp_path):
    chosen = dict(type=kind, count=2)
    loop = form == "in the loop"
    hook = AUSAMHook(**(dict(selection=chosen) if loop else {}))
    runner = train(tmp_path, selection=None if loop else chosen, hooks=[hook])
    assert hook.batch is not None and len(hook.batch) == 2
    assert hook.choice.selection.num_samples == len(runner.train_loop.dataloader.dataset)


def test_ours_by_class_and_a_selection_that_is_built(tmp_path):
    built = GradientNormSelection(24, start_epoch=1)
    wrapper = dict(type="SAMOptimWrapper", optimizer=SGD, method=dict(type=SAMMethod, rho=0.1))
    ours = train(tmp_path, wrapper=wrapper, hooks=[AUSAMHook(selection=built)], epochs=2)
    named = train(tmp_path, wrapper=SAM, hooks=[AUSAMHook(selection=HALF)], epochs=2)
    assert hook_of(ours).choice.selection is built
    assert torch.equal(flat(ours.model), flat(named.model))


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (dict(type="HalfRho", cap=1), "HalfRho has no setting cap; it has .*floor.*rho"),
        (dict(type="Half"), "no method 'Half'; there are .*HalfRho.*register_module"),
        (dict(type=FirstOnes), "no method FirstOnes; there are .*derived from Method"),
        ("SAM", "a method is given as dict"),
    ],
)
def test_what_cannot_be_a_method_is_named(method, words, registered, tmp_path):
    with pytest.raises(AusamError, match=words):
        train(tmp_path, wrapper=STOCK, hooks=[AUSAMHook(method=method)])


def test_the_full_path_of_a_class_is_a_name_as_dumped_configs_have_it(tmp_path):
    wrapper = {**SAM, "method": dict(type="ausam_core.methods.sam.SAM", rho=0.1)}
    ours, named = (train(tmp_path, wrapper=w) for w in (wrapper, SAM))
    assert torch.equal(flat(ours.model), flat(named.model))


class Learner(Selection):
    """Learns from losses and does not say that it does."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def select(self, indices, epoch, generator):
        return torch.arange(len(indices) // 2)

    def record(self, indices, result):
        self.seen += len(result.before)


def test_a_selection_that_records_is_given_losses_unless_it_says_that_it_needs_none(tmp_path):
    chosen = Learner()
    train(tmp_path, wrapper=STOCK, hooks=[AUSAMHook(selection=chosen, rho=0.1)])
    assert chosen.seen == 12
    counts = type("Counts", (Learner,), dict(needs_losses=False))
    assert Learner.needs_losses and not counts.needs_losses
