"""The loss of each sample, from a model whose loss module only returns a scalar.

A forward hook on the loss module sees the same arguments as the module and computes the loss of
each sample with a *handler* that is registered for its class; no network work is done twice, no
module is changed. A module without a handler that returns one loss a sample is taken at its word;
any other is called once for every sample of the batch, which is slow and announced.

    >>> recorder = PerSampleLossRecorder(model)
    >>> with recorder.recording():
    ...     loss = model(images, targets)
    >>> of_each = recorder.losses()     # tensor of shape [N], detached
    >>> whole = recorder.check(loss)    # is that all of the loss?

Right are losses that are a mean or a sum over samples, in any number of modules, called any number
of times, that the model adds up: in place or not, under autocast, in any floating dtype. What the
recorder cannot see (a part computed by a function, a factor outside a module, samples that enter
each other's loss) :meth:`~PerSampleLossRecorder.check` refuses by name.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.batch_parts import call_length
from ausam_core.errors import AusamError
from ausam_core.loss_modules import Place, find_loss_modules, named_loss_modules
from ausam_core.loss_slices import one_by_one
from ausam_core.recorded_losses import RecordedCall, added, check_handlers, what_is_missing

Handler = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Tensor]
"""(module, args, kwargs) → the loss of each sample, ``[N]``.

Either the sum or the mean of it must be what the module returned, and its scale must not depend on
N. It may return ``NotImplemented`` where it cannot serve a module's settings; the module is then
treated as one without a handler.
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

    Loss modules that are replaced later (another head, another loss) are found again at the next
    :meth:`start`, those that are added at the next :meth:`check`.

    Args:
        model: the model; loss modules are found by their handlers and by their names.
        loss_modules: dotted names of the modules whose losses alone count, where finding
            them is not good enough; wrappers' prefixes (``module.``) may stand in them or not.

    Raises:
        AusamError: if a name in ``loss_modules`` does not exist, or lies within another.
    """

    def __init__(self, model: nn.Module, loss_modules: Sequence[str] | None = None) -> None:
        self._model = model
        if isinstance(loss_modules, str):
            loss_modules = [loss_modules]
        self._names = None if loss_modules is None else list(loss_modules)
        self._places: dict[str, Place] = {}
        self._hooks: list[Any] = []
        self._active = self._given = False
        self._calls: list[RecordedCall] = []
        self._announced: set[str] = set()
        self._look_again()

    @property
    def watched(self) -> list[str]:
        """Names of the loss modules that are watched; empty where none could be found."""
        return list(self._places)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record during the body; outside of it the hooks do nothing."""
        self.start()
        try:
            yield
        finally:
            self.stop()

    def start(self) -> None:
        """Record from now on, forgetting what was recorded before.

        Raises:
            AusamError: where the loss modules are gone and no others are there.
        """
        if not all(place.holds() for place in self._places.values()):
            self._look_again()
        self._active, self._given, self._calls = True, False, []

    def stop(self) -> None:
        """Record no longer; what was recorded is kept for :meth:`losses` and :meth:`check`."""
        self._active = False

    def losses(self) -> Tensor | None:
        """The loss of each sample of the last recording, ``[N]``, detached; given out once.

        None where no loss module ran. Several calls add up, of one module or of many.

        Raises:
            AusamError: if modules saw batches of different size.
        """
        if self._given or not self._calls:
            return None
        self._given = True
        return added(self._calls)

    def check(self, total: Tensor) -> bool:
        """Hold the last recording against the loss that is differentiated.

        Waits for the device, so it belongs to the first iteration and to every log. With
        ``loss_modules`` a total that is more than what they gave is only warned of, once.

        Args:
            total: the loss of the same forward pass: a scalar before any loss scale, or ``[N]``,
                whose mean is differentiated.

        Returns:
            Whether that is done. Not where the loss modules have changed since, or where the batch
            was not finite, which proves nothing; the check then stays due.

        Raises:
            AusamError: if a handler contradicts its module, or if the losses do not add up to the
                total; it names the modules, what they gave, and what is missing.
        """
        if self._look_again():
            return False
        if not self._places:
            return True
        if not math.isfinite(float(total.detach().mean())):
            return False
        if not self._calls:
            raise AusamError(
                f"none of the loss modules that are watched ({', '.join(self._places)}) ran while "
                "the loss was computed; let the model compute its loss in them, or name with "
                "loss_modules=[…] those that do"
            )
        if not all(call.values.isfinite().all() for call in self._calls):
            return False
        reductions = check_handlers(self._calls, total)
        problem = what_is_missing(self._calls, total, reductions)
        if problem and self._names is None:
            raise AusamError(problem)
        if problem and "total" not in self._announced:
            self._announced.add("total")
            warnings.warn(problem, stacklevel=2)
        return True

    def _look_again(self) -> bool:
        """Find the loss modules again; whether they are others than before."""
        if self._names is None:
            found = find_loss_modules(self._model, lambda m: find_handler(m) is not None)
        else:
            found = named_loss_modules(self._model, self._names)
        before, self._places = self._places, found
        modules = {name: place.module for name, place in found.items()}
        if modules == {name: place.module for name, place in before.items()}:
            return False
        if before and not found:
            raise AusamError(
                f"the loss modules that were watched ({', '.join(before)}) are gone from the model "
                "and no others are there; let the model keep a module that computes its loss"
            )
        for hook in self._hooks:
            hook.remove()
        self._hooks = [
            module.register_forward_hook(_Hook(self, name), with_kwargs=True)
            for name, module in modules.items()
        ]
        return True

    def _record(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        if not self._active:
            return
        self._active = False  # handlers call the module again
        try:
            with torch.no_grad():
                values = self._losses_of(name, module, args, kwargs, out)
        finally:
            self._active = True
        kind = type(module).__name__
        if isinstance(out, Tensor) and not out.is_inference():
            # What is added to it in place later moves its version; no copy has to be made.
            self._calls.append(
                RecordedCall(name, kind, values.detach(), out.detach(), out._version)
            )
        else:
            self._calls.append(RecordedCall(name, kind, values.detach()))

    def _losses_of(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> Tensor:
        handler = find_handler(module)
        if handler is not None:
            values = _handled(handler, name, module, args, kwargs)
            if values is not NotImplemented:
                return values
        size = call_length(args, kwargs)
        if isinstance(out, Tensor) and out.dim() and len(out) == size:
            return out.clone() if out.dim() == 1 else out.flatten(1).mean(1)
        if name not in self._announced:
            self._announced.add(name)
            warnings.warn(
                "no handler for the loss of each sample is registered for "
                f"{type(module).__name__} ({name}); it is called once for every sample instead, "
                "which is slow: see register_per_sample_loss",
                stacklevel=2,
            )
        return _handled(one_by_one, name, module, args, kwargs)


class _Hook:
    """The forward hook. A copy or a pickle of the model carries one that does nothing."""

    def __init__(self, recorder: PerSampleLossRecorder | None, name: str) -> None:
        self.recorder, self.name = recorder, name

    @torch.compiler.disable
    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        if self.recorder is not None:
            self.recorder._record(self.name, module, args, kwargs, output)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Hook, (None, self.name)


def _handled(
    handler: Handler, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """What a handler gives, or a sentence that names it and the module."""
    who = getattr(handler, "__qualname__", repr(handler))
    whom = f"{name} ({type(module).__name__})"
    try:
        values = handler(module, args, kwargs)
    except Exception as error:
        raise AusamError(
            f"the loss of each sample could not be computed for {whom} with {who}: "
            f"{type(error).__name__}: {error}; register a handler that fits with "
            "register_per_sample_loss"
        ) from error
    if values is NotImplemented or (isinstance(values, Tensor) and values.dim() == 1):
        return values
    found = f"shape {list(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
    raise AusamError(
        f"the handler {who} of {whom} must give the loss of each sample, a tensor of shape [N], "
        f"and gave {found}"
    )


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
