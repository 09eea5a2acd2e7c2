"""A model, a data set and a runner of MMEngine that train in milliseconds; nothing is mocked.

Test modules import it as ``tests.ausam_core.mmengine.tiny``, the programs that they start as well.
"""

from __future__ import annotations

import copy
import itertools
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

import ausam_core.mmengine  # noqa: F401  registers
from ausam_core import in_second_pass

FEATURES, CLASSES = 6, 3
REPOSITORY = Path(__file__).parents[3]


def pack(info: dict[str, Any]) -> dict[str, Any]:
    """What every OpenMMLab pipeline ends with."""
    sample = BaseDataElement()
    sample.set_field(int(info["label"]), "label")
    return dict(inputs=torch.from_numpy(info["features"]), data_samples=sample)


def augment(info: dict[str, Any]) -> dict[str, Any]:
    """Chance from all three generators that augmentations use."""
    noise = np.random.normal(size=FEATURES) + random.random() + torch.rand(FEATURES).numpy()
    info["features"] = (info["features"] + 0.3 * noise).astype(np.float32)
    return info


class Points(BaseDataset):
    """Points around the centre of their class. Some lie far off, so that scores differ."""

    def __init__(self, size: int = 24, pipeline: Any = (pack,), **kwargs: Any) -> None:
        self.size = size
        # Serialising collects garbage in the whole process, for 24 samples.
        super().__init__(pipeline=list(pipeline), serialize_data=False, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        generator = np.random.default_rng(7)
        centres = generator.normal(size=(CLASSES, FEATURES))
        spread = generator.uniform(0.1, 2.0, size=self.size)
        return [
            dict(
                label=i % CLASSES,
                features=(
                    centres[i % CLASSES] + spread[i] * generator.normal(size=FEATURES)
                ).astype(np.float32),
            )
            for i in range(self.size)
        ]


class Net(BaseModel):
    """Two linear layers with BatchNorm and dropout between them.

    Args:
        dropout: probability of dropping.
        norm: the normalisation layer.
        depth: hidden layers.
        loss: the loss module; None returns the loss of each sample, a vector, as a head may.
        fault: what to go wrong in a pass: called with (model, loss), gives the loss.
    """

    def __init__(
        self,
        dropout: float = 0.0,
        norm: type[nn.Module] = nn.BatchNorm1d,
        depth: int = 1,
        loss: nn.Module | None | str = "cross entropy",
        fault: Any = None,
        data_preprocessor: Any = None,
    ) -> None:
        super().__init__(data_preprocessor)
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Linear(FEATURES if i == 0 else 8, 8), norm(8), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Dropout(dropout))
        self.head = nn.Linear(8, CLASSES)
        self.loss_module = nn.CrossEntropyLoss() if loss == "cross entropy" else loss
        self.fault = fault
        self.seen: list[Tensor] = []
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                around = 1.0 if parameter.dim() == 1 and name.endswith("weight") else 0.0
                parameter.copy_(around + 0.5 * torch.randn(parameter.shape, generator=generator))

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "tensor") -> Any:
        x = torch.stack(list(inputs)) if isinstance(inputs, (list, tuple)) else inputs
        logits = self.head(self.body(x))
        if mode == "tensor":
            return logits
        if mode == "predict":
            for sample, row in zip(data_samples, logits, strict=True):
                sample.set_field(int(row.argmax()), "predicted")
            return data_samples
        labels = torch.tensor([s.label for s in data_samples], device=x.device)
        if self.loss_module is None:
            loss = nn.functional.cross_entropy(logits, labels, reduction="none")
        else:
            loss = self.loss_module(logits, labels)
        if self.fault is not None:
            loss = self.fault(self, loss)
        if not in_second_pass():
            self.seen.append(x.detach().clone())
        return dict(loss=loss)


class Accuracy(BaseMetric):
    """For validation between epochs; draws random numbers, as a careless evaluator does."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        torch.rand(3), np.random.rand(), random.random()
        self.results += [float(s["label"] == s["predicted"]) for s in data_samples]

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return dict(accuracy=sum(results) / len(results))


class Probe(Hook):
    """Keeps what a run looks like from outside: weights after each step, batches, logged
    scalars."""

    priority = "VERY_LOW"

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.inputs: list[Tensor] = []
        self.weights: list[Tensor] = []
        self.results: list[Any] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.batches.append(getattr(data_batch, "indices", None))
        self.inputs.append(torch.stack(list(data_batch["inputs"])))
        self.weights.append(flat(runner.model))
        self.results.append(getattr(runner.optim_wrapper, "last_result", None))


def flat(model: nn.Module) -> Tensor:
    """All parameters in one vector."""
    return torch.cat([p.detach().clone().flatten() for p in model.parameters()])


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, copied."""
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, through dicts, lists and tensors."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


SGD = dict(type="SGD", lr=0.1, momentum=0.9)
SAM = dict(type="SAMOptimWrapper", optimizer=SGD, method=dict(type="SAM", rho=0.1))
STOCK = dict(type="OptimWrapper", optimizer=SGD)
HALF = dict(type="GradientNormSelection", alpha=0.5, s_min=0.1, s_max=1.0, start_epoch=1)
_names = itertools.count()


def make_runner(
    work_dir: Path | str,
    *,
    model: nn.Module | None = None,
    wrapper: dict[str, Any] = SAM,
    hooks: Any = (),
    selection: dict[str, Any] | None = None,
    pipeline: Any = (pack,),
    dataset: Any = None,
    size: int = 24,
    batch_size: int = 8,
    epochs: int = 1,
    workers: int = 0,
    shuffle: bool = True,
    loader: dict[str, Any] | None = None,
    train_cfg: dict[str, Any] | None = None,
    val: bool = False,
    interval: int = 1,
    save: bool = False,
    **kwargs: Any,
) -> Runner:
    """A real Runner. ``selection`` puts a SelectiveBatchSampler into its loader."""
    model = Net() if model is None else model
    train = dict(
        batch_size=batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        dataset=dataset or dict(type=Points, size=size, pipeline=list(pipeline)),
        **{"sampler": dict(type="DefaultSampler", shuffle=shuffle), **(loader or {})},
    )
    if selection is not None:
        train["batch_sampler"] = dict(type="SelectiveBatchSampler", selection=selection)
    if val:
        kwargs |= dict(
            val_dataloader=dict(
                batch_size=8,
                dataset=dict(type=Points, size=9, pipeline=[pack]),
                sampler=dict(type="DefaultSampler", shuffle=False),
            ),
            val_cfg=dict(),
            val_evaluator=dict(type=Accuracy, prefix="val"),
        )
    default_hooks = dict(
        logger=dict(type="LoggerHook", interval=interval),
        checkpoint=dict(type="CheckpointHook", interval=1) if save else None,
    )
    return Runner(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=train,
        train_cfg=train_cfg or dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=copy.deepcopy(wrapper),
        custom_hooks=list(hooks),
        default_hooks=default_hooks,
        randomness=kwargs.pop("randomness", dict(seed=5)),
        log_level="WARNING",
        experiment_name=kwargs.pop("experiment_name", f"tiny-{next(_names)}"),
        **kwargs,
    )


def finish(runner: Runner) -> Runner:
    """Train, then end the workers; left to the garbage collector each takes five seconds to end."""
    runner.train()
    runner.train_loop.dataloader._iterator = None
    return runner


def train(work_dir: Path | str, **kwargs: Any) -> Runner:
    """Make a runner, train, give it back."""
    return finish(make_runner(work_dir, **kwargs))


def hook_of(runner: Runner) -> Any:
    """The AUSAMHook of a runner."""
    return next(h for h in runner.hooks if type(h).__name__ == "AUSAMHook")


def lines_of(runner: Runner) -> list[str]:
    """Warnings that the runner's logger will have given by the time one looks."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())
    runner.logger.addHandler(handler)
    return lines


def resume_hook_of(runner: Runner) -> Any:
    """The ExactResumeHook of a runner, or None."""
    return next((h for h in runner.hooks if type(h).__name__ == "ExactResumeHook"), None)
