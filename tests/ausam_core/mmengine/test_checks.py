"""What cannot be supported is refused by name, before the first step."""

from __future__ import annotations

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from ausam_core import AusamError
from ausam_core.mmengine import AUSAMHook, SAMOptimWrapper
from ausam_core.mmengine.optim_wrapper import promote
from tests.ausam_core.mmengine.tiny import (
    HALF,
    SAM,
    STOCK,
    Net,
    Points,
    flat,
    make_runner,
    pack,
    train,
)


class Named:
    """Stands for a class of that name that is not installed here."""


def called(name: str, **attributes):
    return type(name, (Named,), {"__call__": lambda self, info: info, **attributes})()


def wrapper_of(kind: str, model: nn.Module):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    if kind == "OptimWrapperDict":
        return OptimWrapperDict(all=OptimWrapper(optimizer))
    base = Named if kind == "DeepSpeedOptimWrapper" else OptimWrapper
    cls = type(kind, (base,), {})
    return cls() if base is Named else cls(optimizer)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("ApexOptimWrapper", "Apex moves its loss scale at every backward"),
        ("OptimWrapperDict", "several optimizers"),
        ("DeepSpeedOptimWrapper", "engine owns backward and step"),
    ],
)
def test_a_wrapper_it_cannot_use_is_refused_by_name(kind, why):
    with pytest.raises(AusamError, match=f"cannot work with {kind}.*{why}"):
        promote(wrapper_of(kind, Net()), dict(type="SAM"))


class CountingOptimWrapper(OptimWrapper):
    """A wrapper of one's own, with a step and a backward of its own."""

    steps = backwards = 0

    def step(self, **kwargs):
        self.steps += 1
        super().step(**kwargs)

    def backward(self, loss, **kwargs):
        self.backwards += 1
        super().backward(loss, **kwargs)


class OddOptimWrapper(OptimWrapper):
    """Updates in a way of its own."""

    def update_params(self, loss, step_kwargs=None, zero_kwargs=None):
        super().update_params(loss)


@pytest.fixture
def registered():
    """Registers a wrapper for one test."""
    names = []

    def register(cls):
        OPTIM_WRAPPERS.register_module(module=cls, force=True)
        names.append(cls.__name__)
        return cls.__name__

    yield register
    for name in names:
        OPTIM_WRAPPERS.module_dict.pop(name)


def test_a_subclass_of_ones_own_keeps_what_it_overrides(registered, tmp_path):
    kind = registered(CountingOptimWrapper)
    runner = train(
        tmp_path, wrapper={**STOCK, "type": kind}, hooks=[AUSAMHook(rho=0.1, alpha=1)], epochs=2
    )
    stock = train(tmp_path, wrapper=STOCK, hooks=[AUSAMHook(rho=0.1, alpha=1)], epochs=2)
    assert runner.optim_wrapper.steps == 6 and runner.optim_wrapper.backwards == 12
    assert torch.equal(flat(runner.model), flat(stock.model))


def test_a_subclass_with_an_update_of_its_own_is_refused(registered, tmp_path):
    kind = registered(OddOptimWrapper)
    with pytest.raises(AusamError, match=f"cannot work with {kind} .it has an update_params"):
        train(tmp_path, wrapper={**STOCK, "type": kind}, hooks=[AUSAMHook()])


@pytest.mark.parametrize("name", ["Mixup", "CutMix", "ResizeMix"])
@pytest.mark.parametrize("selection", [None, HALF], ids=["in the loop", "before loading"])
def test_mixing_in_the_batch_is_refused(name, selection, tmp_path):
    # As mmpretrain keeps them: RandomBatchAugment(augments=[Mixup()]).
    model = Net()
    model.data_preprocessor.batch_augments = called("RandomBatchAugment", augments=[called(name)])
    before = flat(model)
    with pytest.raises(AusamError, match=f"{name} mixes samples"):
        train(tmp_path, model=model, selection=selection, hooks=[AUSAMHook()])
    assert torch.equal(flat(model), before)


@pytest.mark.parametrize("name", ["Mosaic", "YOLOXMixUp", "CopyPaste", "CachedMosaic"])
def test_mixing_in_the_pipeline_is_refused(name, tmp_path):
    with pytest.raises(AusamError, match=f"{name} mixes samples"):
        train(tmp_path, pipeline=[called(name), pack], hooks=[AUSAMHook()])


@pytest.mark.parametrize("name", ["AugMix", "RandomFlip", "PackInputs"])
def test_what_does_not_mix_is_not_refused(name, tmp_path):
    train(tmp_path, pipeline=[called(name), pack], hooks=[AUSAMHook()])


def test_mixing_is_no_matter_for_sam_alone(tmp_path):
    train(tmp_path, pipeline=[called("Mosaic"), pack], hooks=[AUSAMHook(alpha=1)])


class Pairs(torch.utils.data.Dataset):
    """A torch data set: its batches are tuples, and tell nothing of an index."""

    def __len__(self):
        return 24

    def __getitem__(self, i):
        return torch.randn(6, generator=torch.Generator().manual_seed(i)), i % 3


class PairNet(Net):
    def forward(self, inputs, labels, mode="tensor"):
        return dict(
            loss=self.loss_module(
                self.head(self.body(torch.stack(inputs))),
                torch.stack(labels)
                if isinstance(labels[0], torch.Tensor)
                else torch.tensor(labels),
            )
        )


@pytest.mark.parametrize("selection", [None, HALF], ids=["in the loop", "before loading"])
def test_tuple_batches_are_trained_in_both_forms(selection, tmp_path):
    hook = AUSAMHook(**({} if selection else dict(selection=HALF)))
    train(tmp_path, model=PairNet(), dataset=Pairs(), selection=selection, hooks=[hook], epochs=2)
    assert hook.choice.selection.scores._count.sum() == 24 + 12


class Opaque(Pairs):
    """Gives a thing that neither MMEngine nor we can look into."""

    def __getitem__(self, i):
        return super().__getitem__(i)[0]


def test_a_batch_that_cannot_carry_its_indices_is_refused(tmp_path):
    loader = dict(collate_fn=dict(type="default_collate"))
    with pytest.raises(AusamError, match="batch of type Tensor cannot carry the numbers"):
        train(tmp_path, model=PairNet(), dataset=Opaque(), loader=loader, hooks=[AUSAMHook()])


TOO_FEW = r"alpha=0.1 of a batch of 8 is less than one sample; use a batch of at least 10"
WRONG = {
    "alpha 0": (dict(alpha=0.0), r"alpha is the share.*in \(0, 1\]; found 0.0"),
    "alpha above 1": (dict(alpha=1.5), "found 1.5"),
    "alpha NaN": (dict(alpha=float("nan")), "found nan"),
    "s_min 0": (dict(s_min=0.0), "s_min must be above 0.*s_min=0.0"),
    "s_min above s_max": (dict(s_min=0.6, s_max=0.5), "s_min=0.6, s_max=0.5"),
    "start_epoch negative": (dict(start_epoch=-1), "start_epoch must be 0 or more, found -1"),
    "estimate": (dict(estimate="median"), "'median'"),
    "rho negative": (dict(rho=-0.1), "rho must be 0 or more, found -0.1"),
    "unknown selection": (
        dict(selection=dict(type="Best")),
        "no selection 'Best'; there are AllSamples, .*GradientNormSelection",
    ),
    "unknown setting": (
        dict(selection=dict(type="UniformSelection", share=0.5)),
        "UniformSelection has no setting share; it has alpha",
    ),
    "unknown method": (dict(method=dict(type="Sam")), "no method 'Sam'; there are .*SAM"),
    "method setting": (dict(method=dict(type="SAM", ro=1)), "SAM has no setting ro; it has .*rho"),
    "start": (dict(start=1.0), r"start is a share of the run, in \[0, 1\); found 1.0"),
    "rho twice": (
        dict(rho=0.1, method=dict(type="SAM")),
        "both rho and method",
    ),
    "alpha twice": (dict(alpha=0.5, selection=HALF), "both selection and alpha"),
    "batch too small": (dict(alpha=0.1), TOO_FEW),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_of_the_hook_stops_the_run_in_one_sentence(name, tmp_path):
    """The sentence survives MMEngine's registry, which raises exceptions anew."""
    settings, words = WRONG[name]
    with pytest.raises(AusamError, match=words) as caught:
        train(tmp_path, wrapper=STOCK, hooks=[dict(type="AUSAMHook", **settings)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", [n for n, (s, _) in WRONG.items() if set(s) <= {"alpha", "s_min", "s_max", "estimate"}]
)
def test_a_wrong_setting_of_the_batch_sampler_stops_the_run_too(name, tmp_path):
    settings, words = WRONG[name]
    with pytest.raises(AusamError, match=words):
        train(tmp_path, selection={"type": "GradientNormSelection", **settings})


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (dict(type="SAM", rho=-1), "rho must be 0 or more, found -1"),
        (dict(type="SAM", rho=float("nan")), "found nan"),
        (dict(type="SAM", perturb="both"), "perturb must be"),
        (dict(type="Adam"), "no method 'Adam'"),
    ],
)
def test_a_wrong_setting_of_the_wrapper_stops_the_run_too(method, words, tmp_path):
    with pytest.raises(AusamError, match=words):
        train(tmp_path, wrapper={**SAM, "method": method})


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        (dict(hooks=[dict(type="AUSAMHook", rho=0.1)]), "in one place, optim_wrapper"),
        (
            dict(hooks=[dict(type="AUSAMHook", method=dict(type="SAM"))]),
            "in one place, optim_wrapper",
        ),
        (
            dict(selection=HALF, hooks=[dict(type="AUSAMHook", alpha=0.5)]),
            "got alpha, but train_dataloader has a SelectiveBatchSampler",
        ),
        (
            dict(selection=HALF, hooks=[dict(type="AUSAMHook", selection=HALF)]),
            "got selection, but",
        ),
    ],
)
def test_a_setting_in_two_places_is_refused(kwargs, words, tmp_path):
    with pytest.raises(AusamError, match=words):
        train(tmp_path, **kwargs)


class Shifted(torch.utils.data.Dataset):
    """Gives another sample than it was asked for, which may say of itself what it likes."""

    def __init__(self, points):
        self.points = points

    def __len__(self):
        return len(self.points)

    def __getitem__(self, i):
        packed = self.points[(i + 1) % len(self.points)]
        packed["data_samples"].set_metainfo(dict(ausam_index=0))
        return packed


@pytest.mark.parametrize("selection", [None, HALF], ids=["in the loop", "before loading"])
def test_a_sample_is_known_by_the_index_that_was_asked_for(selection, tmp_path):
    hook = AUSAMHook(**({} if selection else dict(selection=HALF)))
    train(tmp_path, dataset=Shifted(Points(24)), selection=selection, hooks=[hook], epochs=2)
    assert hook.choice.selection.scores._count.sum() == 24 + 12


def test_a_batch_sampler_without_its_hook_is_noticed(tmp_path):
    """Nobody would record a score, and the draw would stay uniform for good."""
    runner = make_runner(tmp_path, selection=HALF, epochs=2)
    with pytest.raises(AusamError, match="AUSAMHook"):
        runner.train()


def test_a_repeated_data_set_keeps_its_repetitions_apart(tmp_path):
    repeated = dict(
        type="RepeatDataset", times=2, dataset=dict(type=Points, size=12, pipeline=[pack])
    )
    hook = AUSAMHook()
    train(tmp_path, dataset=repeated, hooks=[hook], epochs=2)
    scores = hook.choice.selection.scores
    assert scores.num_samples == 24 and scores._count.sum() == 24 + 12


def test_an_epoch_of_a_part_of_the_data_trains_that_part(tmp_path):
    hook = AUSAMHook()
    train(tmp_path, loader=dict(num_batch_per_epoch=2), hooks=[hook], epochs=2)
    scores = hook.choice.selection.scores
    assert scores.num_samples == 16 and scores._count.sum() == 16 + 8


class Stepping(Net):
    """Computes its loss without a forward call in mode='loss'."""

    def train_step(self, data, optim_wrapper):
        data = self.data_preprocessor(data, True)
        loss = super().forward(**data, mode="loss")["loss"]
        optim_wrapper.update_params(loss)
        return dict(loss=loss.detach())


def test_a_model_with_a_train_step_of_its_own_is_refused_by_name(tmp_path):
    with pytest.raises(AusamError, match="Stepping has a train_step of its own"):
        train(tmp_path, model=Stepping(), wrapper=SAM)


def test_a_loop_of_its_own_that_computes_the_loss_elsewhere_is_refused():
    model = Net()
    wrapper = SAMOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), 0.1))
    wrapper.initialize_count_status(model, 0, 10)
    data, before = model.data_preprocessor(pseudo_collate(list(Points(4))), True), flat(model)
    with pytest.raises(AusamError, match=r"without a forward .* within .*optim_context\(model\)"):
        wrapper.update_params(model(**data, mode="loss")["loss"])
    assert torch.equal(flat(model), before)


def test_sharding_of_the_first_generation_is_refused_with_what_to_use(tmp_path):
    from mmengine.model import MMFullyShardedDataParallel
    from torch import distributed as dist

    from ausam_core.mmengine import SAMOptimWrapper

    store = f"file://{tmp_path}/store"
    dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        model = MMFullyShardedDataParallel(Net(), device_id=torch.device("cpu"))
        wrapper = SAMOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), 0.1))
        with pytest.raises(AusamError, match="FSDP1.*DistributedDataParallel"):
            wrapper.initialize_count_status(model, 0, 10)
    finally:
        dist.destroy_process_group()


class Switching(Hook):
    """Puts a mixing pipeline in place in the middle of a run, as detection recipes do."""

    priority = "VERY_HIGH"

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            runner.train_loop.dataloader.dataset.pipeline.transforms.insert(0, called("Mosaic"))


def test_a_pipeline_that_is_switched_in_mid_run_is_looked_at_again(tmp_path):
    with pytest.raises(AusamError, match="Mosaic mixes samples"):
        train(tmp_path, hooks=[AUSAMHook(), Switching()], epochs=2)


def test_a_runner_with_strategies_is_refused_by_name():
    from mmengine.runner import FlexibleRunner

    runner = FlexibleRunner.__new__(FlexibleRunner)
    with pytest.raises(AusamError, match="FlexibleRunner lets a strategy prepare"):
        AUSAMHook().before_run(runner)
