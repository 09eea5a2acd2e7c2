"""What cannot be supported is refused by name, before the first step."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from ausam_core import AusamError
from ausam_core.mmengine import AUSAMHook
from ausam_core.mmengine.optim_wrapper import promote
from tests.ausam_core.mmengine.tiny import HALF, SAM, STOCK, Net, flat, make_runner, pack, train


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
        ("SomebodysOptimWrapper", "set optim_wrapper.type to one of those"),
    ],
)
def test_a_wrapper_it_cannot_use_is_refused_by_name(kind, why):
    with pytest.raises(AusamError, match=f"found {kind}.*{why}"):
        promote(wrapper_of(kind, Net()), dict(type="SAM"))


def test_the_hook_refuses_them_in_a_run(tmp_path):
    @OPTIM_WRAPPERS.register_module(force=True)
    class OddOptimWrapper(OptimWrapper):
        pass

    try:
        with pytest.raises(AusamError, match="found OddOptimWrapper"):
            train(tmp_path, wrapper={**STOCK, "type": "OddOptimWrapper"}, hooks=[AUSAMHook()])
    finally:
        OPTIM_WRAPPERS.module_dict.pop("OddOptimWrapper")


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


def test_tuple_batches_are_refused_in_the_loop(tmp_path):
    with pytest.raises(AusamError, match=r"\((list|tuple)\) do not tell their index.*Selective"):
        train(tmp_path, model=PairNet(), dataset=Pairs(), hooks=[AUSAMHook()])


def test_tuple_batches_are_fine_before_loading(tmp_path):
    hook = AUSAMHook()
    train(tmp_path, model=PairNet(), dataset=Pairs(), selection=HALF, hooks=[hook], epochs=2)
    count = hook.choosing.selection.scores._count
    assert count.sum() == 24 + 12


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
        "no selection 'Best'; there are AllSamples, GradientNormSelection",
    ),
    "unknown setting": (
        dict(selection=dict(type="UniformSelection", share=0.5)),
        "UniformSelection has no setting share; it has alpha",
    ),
    "unknown method": (dict(method=dict(type="Sam")), "no method 'Sam'; there are .*SAM"),
    "method setting": (dict(method=dict(type="SAM", ro=1)), "SAM has no setting ro; it has .*rho"),
    "select": (dict(select="epoch"), "select must be 'batch' or left out, found 'epoch'"),
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
        (dict(hooks=[dict(type="AUSAMHook", rho=0.1)]), "in one place, optim_wrapper.method"),
        (
            dict(hooks=[dict(type="AUSAMHook", method=dict(type="SAM"))]),
            "in one place, optim_wrapper.method",
        ),
        (
            dict(selection=HALF, hooks=[dict(type="AUSAMHook", alpha=0.5)]),
            "got alpha, but train_dataloader has a SelectiveBatchSampler",
        ),
        (
            dict(selection=HALF, hooks=[dict(type="AUSAMHook", selection=HALF)]),
            "got selection, but",
        ),
        (
            dict(selection=HALF, hooks=[dict(type="AUSAMHook", select="batch")]),
            "got select, but",
        ),
    ],
)
def test_a_setting_in_two_places_is_refused(kwargs, words, tmp_path):
    with pytest.raises(AusamError, match=words):
        train(tmp_path, **kwargs)


def test_a_loader_in_another_order_than_its_sampler_is_noticed(tmp_path):
    class Shifted(torch.utils.data.Dataset):
        """Gives another sample than it was asked for."""

        def __init__(self, points):
            self.points = points

        def __len__(self):
            return len(self.points)

        def __getitem__(self, i):
            packed = self.points[(i + 1) % len(self.points)]
            packed["data_samples"].set_metainfo(dict(ausam_index=(i + 1) % len(self.points)))
            return packed

    from tests.ausam_core.mmengine.tiny import Points

    with pytest.raises(AusamError, match="the loader must keep the order"):
        train(tmp_path, dataset=Shifted(Points(24)), selection=HALF, hooks=[AUSAMHook()])


def test_a_batch_sampler_without_its_hook_is_noticed(tmp_path):
    """Nobody would record a score, and the draw would stay uniform for ever."""
    runner = make_runner(tmp_path, selection=HALF, epochs=2)
    with pytest.raises(AusamError, match="AUSAMHook"):
        runner.train()
