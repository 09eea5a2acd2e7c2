"""How far each prediction is from its target (EL2N), from a model that only returns a loss.

A forward hook on the loss module sees class scores and targets, and an *error handler* that is
registered for its class makes EL2N of them. A model that computes its loss without a module may
have a method ``sample_errors()``, which gives ``[N]`` for its last forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.selection.el2n import el2n

ErrorHandler = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Tensor]
"""(module, args, kwargs) → EL2N of each sample, ``[N]``."""

_HANDLERS: dict[str, ErrorHandler] = {}


def register_sample_error(*classes: type | str) -> Callable[[ErrorHandler], ErrorHandler]:
    """Register an error handler for loss modules, by class or by full name."""

    def register(handler: ErrorHandler) -> ErrorHandler:
        for cls in classes:
            name = cls if isinstance(cls, str) else f"{cls.__module__}.{cls.__qualname__}"
            _HANDLERS[name] = handler
        return handler

    return register


@register_sample_error(
    nn.CrossEntropyLoss,
    "mmpretrain.models.losses.cross_entropy_loss.CrossEntropyLoss",
    "mmpretrain.models.losses.label_smooth_loss.LabelSmoothLoss",
)
def cross_entropy_error(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Class scores come first, class numbers or distributions second."""
    scores, target = (*args, *kwargs.values())[:2]
    return el2n(scores, target)


class SampleErrorRecorder:
    """Records EL2N while a model computes its loss.

    Args:
        model: the model, without wrappers.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._active = False
        self._seen: list[Tensor] = []
        self._hooks: dict[nn.Module, Any] = {}

    def start(self) -> None:
        """Record from now on, forgetting what was recorded before.

        Loss modules are looked for again, because heads can be swapped.
        """
        self._active, self._seen = True, []
        found = {m: h for m in self.model.modules() if (h := _handler_of(m)) is not None}
        if found.keys() != self._hooks.keys():
            for handle in self._hooks.values():
                handle.remove()
            self._hooks = {
                module: module.register_forward_hook(self._hook(handler), with_kwargs=True)
                for module, handler in found.items()
            }

    def errors(self) -> Tensor | None:
        """EL2N of each sample of the last pass, ``[N]``; None where nothing could be seen.

        Several loss modules add up in squares, as parts of one long vector do.
        """
        self._active, seen, self._seen = False, self._seen, []
        if hasattr(self.model, "sample_errors"):
            return self.model.sample_errors()  # type: ignore[operator]
        if not seen or len({len(s) for s in seen}) > 1:
            return None
        return seen[0] if len(seen) == 1 else torch.stack(seen).norm(dim=0)

    def _hook(self, handler: ErrorHandler) -> Callable[..., None]:
        def record(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
        ) -> None:
            if self._active:
                with torch.no_grad():
                    self._seen.append(handler(module, args, kwargs))

        return record


def _handler_of(module: nn.Module) -> ErrorHandler | None:
    names = (f"{cls.__module__}.{cls.__qualname__}" for cls in type(module).__mro__)
    return next((_HANDLERS[name] for name in names if name in _HANDLERS), None)
