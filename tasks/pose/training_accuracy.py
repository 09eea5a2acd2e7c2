"""Compute MMPose's training accuracy when the log shows it, and only then.

The heads of MMPose end every loss with an accuracy in NumPy: the outputs travel to the host, the
host waits for the device, and the log then shows one value in fifty. Under SAM the second pass pays
for it once more, for a value that nobody sees. The hook leaves the heads as they are. While the
model's loss is computed, it puts other functions under the two names by which a head's module knows
them, `to_numpy` and `simcc_pck_accuracy` (`pose_pck_accuracy`, ...): in pass 2, and in iterations
that are not logged, these convert nothing and give the last accuracy again.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from mmengine.hooks import Hook, LoggerHook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn
from torch.utils.hooks import RemovableHandle

from ausam_core.passes import in_second_pass

CONVERT = "to_numpy"
ACCURACIES = "mmpose.evaluation.functional.keypoint_eval"  # where accuracies are defined


class _Unread:
    """In place of an array that is not needed. A head compares weights: ``to_numpy(w) > 0``."""

    def __gt__(self, other: Any) -> "_Unread":
        return self


class _HeadModule:
    """The names in one module of heads, their real functions, and the last accuracies."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.convert: Callable[..., Any] = getattr(module, CONVERT)
        self.accuracies = dict(_accuracies(module))
        self.last: dict[str, Any] = {}

    def replace(self, skip: bool) -> None:
        """Enter functions that repeat the last values or, without any, compute and keep them."""
        skip = skip and len(self.last) == len(self.accuracies)
        if skip:
            setattr(self.module, CONVERT, lambda *args, **kwargs: _Unread())
        for name, real in self.accuracies.items():
            setattr(self.module, name, self._repeat(name) if skip else self._compute(name, real))

    def restore(self) -> None:
        setattr(self.module, CONVERT, self.convert)
        for name, real in self.accuracies.items():
            setattr(self.module, name, real)

    def _repeat(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self.last[name]

    def _compute(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def compute(*args: Any, **kwargs: Any) -> Any:
            self.last[name] = real(*args, **kwargs)
            return self.last[name]

        return compute


def _accuracies(module: ModuleType) -> list[tuple[str, Callable[..., Any]]]:
    """Names of a module under which it has imported an accuracy of MMPose."""
    named = vars(module).items()
    return [(name, f) for name, f in named if getattr(f, "__module__", None) == ACCURACIES]


def _head_modules(model: nn.Module) -> list[_HeadModule]:
    """The Python modules that define parts of the model and compute an accuracy."""
    names = {cls.__module__ for part in model.modules() for cls in type(part).__mro__}
    modules = [sys.modules[name] for name in sorted(names) if name in sys.modules]
    return [_HeadModule(m) for m in modules if hasattr(m, CONVERT) and _accuracies(m)]


@HOOKS.register_module()
class TrainingAccuracyHook(Hook):
    """Skip the training accuracy in pass 2 and wherever it is not logged.

    Works with any optimizer wrapper and any head of MMPose that computes its accuracy with the
    functions of `mmpose.evaluation`. The loss is untouched, and so is the accuracy in iterations
    that `LoggerHook` logs; in between the last one is repeated.
    """

    def __init__(self) -> None:
        self.logged = True
        self._handles: list[RemovableHandle] = []

    def before_train(self, runner: Runner) -> None:
        """Watch the loss forwards of the model."""
        self._remove()
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        heads = _head_modules(model)

        # Closures, not methods: a copy of the model, for an average of weights, copies no hook.
        def enter(model: nn.Module, args: tuple, kwargs: dict) -> None:
            if model.training and kwargs.get("mode") == "loss":
                for head in heads:
                    head.replace(skip=in_second_pass() or not self.logged)

        def leave(model: nn.Module, args: tuple, outputs: Any) -> None:
            for head in heads:
                head.restore()

        self._handles = [
            model.register_forward_pre_hook(enter, with_kwargs=True),
            model.register_forward_hook(leave, always_call=True),  # also when the forward raises
        ]

    def after_train(self, runner: Runner) -> None:
        """Stop watching."""
        self._remove()

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None
    ) -> None:
        """Find out whether this iteration is logged, by the rule of `LoggerHook`."""
        last = self.end_of_epoch(runner.train_dataloader, batch_idx)
        loggers = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self.logged = last or any(
            self.every_n_inner_iters(batch_idx, hook.interval) for hook in loggers
        )

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
