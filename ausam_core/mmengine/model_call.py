"""The forward pass in which a model computes its loss: kept, watched, and run again.

Pass 2 repeats the forward with the arguments that a hook kept, so it sees the batch *after* the
data preprocessor, random batch augmentation included. No model, head or runner is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from mmengine.model import BaseModel, is_model_wrapper
from torch import Tensor, nn

from ausam_core.batch_parts import call_length, part_of_call, tensors_in
from ausam_core.errors import AusamError
from ausam_core.losses import ForwardRecord, mean_loss
from ausam_core.methods import Base, Method
from ausam_core.mmengine.exchange import Exchange
from ausam_core.passes import in_second_pass, weights_of_pass
from ausam_core.per_sample_loss import PerSampleLossRecorder
from ausam_core.random_state import RandomState
from ausam_core.sample_error import SampleErrorRecorder


class ModelCall:
    """The loss computations of one model.

    Args:
        model: the model, possibly wrapped.
        method: the method that trains it.
        exchange: what the hook wants.
        context: the wrapper's ``optim_context``, in which a forward pass runs.
        loss_modules: see :class:`~ausam_core.PerSampleLossRecorder`.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        exchange: Exchange,
        context: Callable[[nn.Module], AbstractContextManager[None]],
        loss_modules: Sequence[str] | None = None,
    ) -> None:
        self.model, self.method, self.exchange = model, method, exchange
        inner: Any = model.module if is_model_wrapper(model) else model
        self.inner = inner
        self.random_state: RandomState | None = None
        #: Whether what runs now is a step's; a model may compute its loss for others too.
        self.in_step = False
        self._context = context
        self._versions: list[int] = []
        self._call: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._vector: Tensor | None = None
        self._gave_vector = False
        # How many samples the pass that is running sees, where its arguments tell.
        self._present: int | None = None
        self._total: Tensor | None = None
        _check_train_step(inner, method)
        records = exchange.wants_losses or method.needs_losses
        self._recorder = PerSampleLossRecorder(inner, loss_modules) if records else None
        self._errors = SampleErrorRecorder(inner) if exchange.wants_errors else None
        model.register_forward_pre_hook(self._keep_call, with_kwargs=True)
        model.register_forward_hook(self._keep_vector)

    def size(self) -> int | None:
        """Number of samples in the present batch, where its arguments tell."""
        if self._call is None:
            return None
        args, kwargs = self._call
        return call_length(args, kwargs)

    def again(self, subset: Tensor | None) -> ForwardRecord:
        """Run the forward pass of the present batch, or of a part of it, once more."""
        if self._call is None:
            raise AusamError(
                f"{type(self.inner).__name__} computed its loss without a forward call in "
                "mode='loss' within optim_wrapper.optim_context(model), so its second pass cannot "
                "be run; compute it there"
            )
        if self._versions != _versions(self._call):
            raise AusamError(
                f"{type(self.inner).__name__} changed the batch in place in its forward, so a "
                "second pass would see another; let it make copies (x = x * s for x.mul_(s))"
            )
        args, kwargs = self._part(subset)
        with self._context(self.model):
            losses = self.model(*args, **kwargs)
        return self.record(self.inner.parse_losses(losses)[0], subset)

    def record(self, loss: Tensor, subset: Tensor | None = None) -> ForwardRecord:
        """The record of the forward pass that has just run, over ``subset`` of the batch where that
        is given; ``loss`` is what it gave."""
        per_sample, self._vector = self._vector, None
        self._gave_vector = per_sample is not None
        self._total = loss
        weights = weights_of_pass(self.method, self.exchange.batch, subset)
        if weights is not None:
            if per_sample is None:
                raise AusamError(
                    f"the selection weights samples, but {type(self.inner).__name__} returns a "
                    "loss that is reduced already; let the model return a vector with the loss of "
                    "each sample"
                )
            # Of pass 1, which the framework ran, only its length tells that it saw the first ones.
            loss = mean_loss(per_sample, weights[: len(per_sample)])
        if self._recorder is not None:
            self._recorder.stop()
            recorded = self._recorder.losses()
            per_sample = recorded if per_sample is None else per_sample
        errors = None if self._errors is None else self._errors.errors()
        outputs = getattr(self.inner, "last_outputs", None)
        return ForwardRecord(total=loss, per_sample=per_sample, outputs=outputs, error=errors)

    def forget(self) -> None:
        """The batch is done: a step that makes no forward call must not find the last one's."""
        self._call = None

    def check(self) -> bool:
        """Hold the recorded losses against the loss that is differentiated; waits for the device.

        Returns:
            Whether there was something to hold.

        Raises:
            AusamError: where a part of the loss is not seen.
        """
        if self._recorder is None or self._total is None or self._gave_vector:
            return True
        return self._recorder.check(self._total.detach())

    def _part(self, subset: Tensor | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        assert self._call is not None
        args, kwargs = self._call
        size = self.size()
        if subset is None or size is None:
            return args, kwargs
        return part_of_call(args, kwargs, subset, size)

    def _keep_call(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if kwargs.get("mode") != "loss" or not module.training or not self.in_step:
            return None
        first = not in_second_pass()
        subset = None
        if first and not self.method.running:
            self._call = (args, kwargs)
            self._versions = _versions(self._call)
            self.method.get_ready()
            if self.method.replay_random_state:
                self.random_state = RandomState.capture()
            subset = self.method.first_samples(self.size())
        for recorder in (self._recorder, self._errors):
            if recorder is not None:
                recorder.start()
        if subset is not None:
            args, kwargs = self._part(subset)
        self._present = call_length(args, kwargs)
        return None if subset is None else (args, kwargs)

    def _keep_vector(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Use the loss of each sample where the model returns one; parse_losses averages it."""
        self._vector = None
        wanted = self._recorder is not None or self.exchange.batch is not None
        if not (wanted and self.in_step and module.training and isinstance(output, dict)):
            return
        losses = [v for k, v in output.items() if "loss" in k]
        # One value is the loss of a single sample, and of several one that is reduced.
        least = 1 if self._present == 1 else 2
        vectors = (isinstance(v, Tensor) and v.dim() == 1 and len(v) >= least for v in losses)
        if losses and all(vectors):
            if len({len(v) for v in losses}) == 1:
                self._vector = torch.stack(losses).sum(0) if len(losses) > 1 else losses[0]


def _versions(call: Any) -> list[int]:
    """How often each tensor of a call has been changed in place."""
    return [t._version for t in tensors_in(call) if not t.is_inference()]


def _check_train_step(model: Any, method: Method) -> None:
    """Refuse a model that adds to its loss where a second pass does not come by."""
    own = getattr(type(model), "train_step", None)
    if own is not None and own is not BaseModel.train_step and type(method) is not Base:
        raise AusamError(
            f"{type(model).__name__} has a train_step of its own, and a second pass runs forward "
            "in mode='loss' alone; compute the whole loss there, and leave train_step to BaseModel"
        )
