"""The loss of each sample, from a model whose loss module only returns a scalar.

A forward hook on the loss module sees the same arguments as the module and computes the loss of
each sample with a *handler* that is registered for its class; no network work is done twice, no
module is changed. A module without a handler is called once for every sample of the batch, which is
slow and announced.

    >>> recorder = PerSampleLossRecorder(model)
    >>> with recorder.recording():
    ...     loss = model(images, targets)
    >>> recorder.take()          # tensor of shape [N], detached
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.errors import AusamError

Handler = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Tensor]
"""(module, args, kwargs) → the loss of each sample, ``[N]``.

Either the sum or the mean of it must be what the module returned, and its scale must not depend on
N.
"""

_HANDLERS: dict[str, Handler] = {}


def register_per_sample_loss(*classes: type | str) -> Callable[[Handler], Handler]:
    """Register a handler for loss modules.

    Args:
        classes: classes, or their full names (``"package.module.Class"``) where importing them here
            is not wanted. Subclasses are handled too.
    """

    def register(handler: Handler) -> Handler:
        for cls in classes:
            _HANDLERS[cls if isinstance(cls, str) else _full_name(cls)] = handler
        return handler

    return register


def find_handler(module: nn.Module) -> Handler | None:
    """The handler of the nearest class in the module's method resolution order, or None."""
    for cls in type(module).__mro__:
        if (handler := _HANDLERS.get(_full_name(cls))) is not None:
            return handler
    return None


class PerSampleLossRecorder:
    """Records the loss of each sample while a model computes its loss.

    Args:
        model: the model; loss modules are found by their handlers, else by names that begin with
            ``loss``.
        loss_modules: dotted names of the modules to watch, where finding them is not good enough.

    Raises:
        AusamError: if a name in ``loss_modules`` does not exist.
    """

    def __init__(self, model: nn.Module, loss_modules: Sequence[str] | None = None) -> None:
        self._watched = _named(model, loss_modules) if loss_modules is not None else _find(model)
        self._active = False
        self._seen: list[tuple[str, Tensor, Tensor]] = []
        self._checked = False
        for name, module in self._watched.items():
            module.register_forward_hook(self._hook(name), with_kwargs=True)
            if find_handler(module) is None:
                warnings.warn(
                    "no handler for the loss of each sample is registered for "
                    f"{type(module).__name__} ({name}); it is called once for every sample "
                    "instead, which is slow: see register_per_sample_loss",
                    stacklevel=2,
                )

    @property
    def watched(self) -> list[str]:
        """Names of the loss modules that are watched; empty where none could be found."""
        return list(self._watched)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record during the body; outside of it the hooks do nothing."""
        self.start()
        try:
            yield
        finally:
            self.stop()

    def start(self) -> None:
        """Record from now on, forgetting what was recorded before."""
        self._active, self._seen = True, []

    def stop(self) -> None:
        """Record no longer; what was recorded is kept for :meth:`take`."""
        self._active = False

    def take(self) -> Tensor | None:
        """The loss of each sample of the last recording, ``[N]``, detached.

        None where no loss module ran.

        Several loss modules add up. The first time the values are held against what the modules
        returned.

        Raises:
            AusamError: if they contradict it, or modules saw batches of different size.
        """
        seen, self._seen = self._seen, []
        if not seen:
            return None
        if not self._checked:
            self._check(seen)
            self._checked = True
        return (
            seen[0][1] if len(seen) == 1 else torch.stack([values for _, values, _ in seen]).sum(0)
        )

    losses = take

    def check(self, total: Tensor) -> bool:
        return True

    def _hook(self, name: str) -> Callable[..., None]:
        handler = find_handler(self._watched[name]) or one_by_one

        def record(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
        ) -> None:
            if not self._active:
                return
            self._active = False  # the slices call the module again
            try:
                with torch.no_grad():
                    values = handler(module, args, kwargs)
            finally:
                self._active = True
            self._seen.append(
                (
                    name,
                    values.detach(),
                    output.detach() if isinstance(output, Tensor) else values.mean(),
                )
            )

        return record

    def _check(self, seen: list[tuple[str, Tensor, Tensor]]) -> None:
        reductions = {}
        for name, values, output in seen:
            reductions[name] = _reduction(values.float(), output.float())
            if reductions[name] is None:
                raise AusamError(
                    f"the loss of each sample does not fit {name} "
                    f"({type(self._watched[name]).__name__}): it returned "
                    f"{output.float().mean():.6g}, the samples give a mean of "
                    f"{values.float().mean():.6g} and a sum of {values.float().sum():.6g}; "
                    "register a handler that fits with register_per_sample_loss"
                )
        if (
            len({values.shape for _, values, _ in seen}) > 1
            or len(set(reductions.values()) - {"both"}) > 1
        ):
            shapes = ", ".join(
                f"{name}: {reductions[name]} over {list(values.shape)}" for name, values, _ in seen
            )
            raise AusamError(
                f"the losses of this model cannot be added sample by sample ({shapes}); name those "
                "that can with loss_modules=[…]"
            )


def one_by_one(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Call the module once for every sample: the handler of last resort, for losses that are
    separable."""
    size = _batch_size((args, kwargs))
    if size is None:
        raise AusamError(
            f"{type(module).__name__} was called without a tensor, so its loss cannot be split "
            "into samples; register a handler with register_per_sample_loss"
        )
    losses = [
        module.forward(*_slice(args, i, size), **_slice(kwargs, i, size)) for i in range(size)
    ]
    return torch.stack([loss.mean() for loss in losses])


def _reduction(values: Tensor, output: Tensor) -> str | None:
    """How ``values`` [N] become ``output``: "sum", "mean", "both" or not at all (None). Waits for
    the device."""
    output = output.mean() if output.dim() else output
    # Half precision inside the module: three digits are what can be asked for.
    fits = [
        name
        for name in ("sum", "mean")
        if torch.allclose(getattr(values, name)(), output, rtol=1e-2, atol=1e-6)
    ]
    return "both" if len(fits) == 2 else fits[0] if fits else None


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _named(model: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules:
            raise AusamError(
                f"loss_modules names {name!r}, which the model does not have; modules with a loss "
                f"in their name: {', '.join(n for n in modules if 'loss' in n) or 'none'}"
            )
    return {name: modules[name] for name in names}


def _find(model: nn.Module) -> dict[str, nn.Module]:
    """Loss modules by handler, else by name; parts of a loss module (a KLDivLoss within) are not
    watched."""

    def search(wanted: Callable[[str, nn.Module], bool]) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {}
        for name, module in model.named_modules():
            inside = any(name.startswith(f"{outer}.") for outer in found)
            if name and not inside and wanted(name, module):
                found[name] = module
        return found

    by_handler = search(lambda name, module: find_handler(module) is not None)
    return by_handler or search(
        lambda name, module: (
            not isinstance(module, (nn.ModuleList, nn.ModuleDict))
            and any(part.startswith("loss") for part in name.split("."))
        )
    )


def _batch_size(value: Any) -> int | None:
    if isinstance(value, Tensor):
        return len(value) if value.dim() else None
    items = (
        value.values()
        if isinstance(value, dict)
        else value
        if isinstance(value, (list, tuple))
        else ()
    )
    return next((size for item in items if (size := _batch_size(item)) is not None), None)


def _slice(value: Any, i: int, size: int) -> Any:
    if isinstance(value, Tensor):
        return value[i : i + 1] if value.dim() and len(value) == size else value
    if isinstance(value, dict):
        return {key: _slice(item, i, size) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_slice(item, i, size) for item in value)
    return value
