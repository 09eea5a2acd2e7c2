"""A method inside MMEngine's optimizer wrapper: no model, head, loop or runner is touched.

``train_step`` runs pass 1 and calls ``update_params(loss)``; there the method runs the rest. Pass 2
repeats the forward with the arguments that a pre-hook kept, so it sees the batch *after* the data
preprocessor, random batch augmentation included.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from ausam_core.batch import Batch
from ausam_core.errors import AusamError
from ausam_core.losses import ForwardRecord, loud, mean_loss
from ausam_core.methods import Method, StepResult
from ausam_core.mmengine.build import build_method
from ausam_core.mmengine.keyed_pipeline import batch_length, part_of_batch
from ausam_core.passes import Passes, in_second_pass, weights_of_pass
from ausam_core.per_sample_loss import PerSampleLossRecorder
from ausam_core.random_state import RandomState


class MethodMixin:
    """Lets a method turn a batch into an update; goes before an :class:`OptimWrapper`.

    Args:
        method: config of the method, ``dict(type='SAM', rho=0.05)``.
        loss_modules: names of the modules that compute the loss of each sample, where finding them
            is not good enough; see :class:`~ausam_core.PerSampleLossRecorder`.
        **kwargs: see :class:`mmengine.optim.OptimWrapper`; all of them keep their meaning.

    Attributes:
        record_losses: set by the hook where a selection needs the loss of each sample.
        batch: set by the hook to the planned batch, for what deals with single samples.
        last_result: what the last ``update_params`` left behind.
    """

    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        *args: Any,
        method: Mapping[str, Any] | None = None,
        loss_modules: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.set_method(method or dict(type="SAM"), loss_modules)

    def set_method(
        self, method: Mapping[str, Any], loss_modules: Sequence[str] | None = None
    ) -> None:
        """Use a method from the next run on; the constructor and the hook's promotion share it."""
        self._method_config, self._loss_modules = dict(method), loss_modules
        self._method: Method | None = None
        self._method_state: dict[str, Any] | None = None
        self._recorder: PerSampleLossRecorder | None = None
        self._call: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._vector: Tensor | None = None
        self._before_forward: RandomState | None = None
        self._finite: Tensor | None = None
        self.record_losses = False
        self.batch: Batch | None = None
        self.last_result: StepResult | None = None

    @property
    def method(self) -> Method:
        """The method at work.

        Raises:
            AusamError: before the wrapper has met the model.
        """
        if self._method is None:
            raise AusamError(
                f"{type(self).__name__} has not met the model yet; MMEngine's Runner introduces "
                "them, a loop of your own calls initialize_count_status(model, 0, max_iters)"
            )
        return self._method

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        super().initialize_count_status(model, init_counts, max_counts)
        if self._method is not None:
            return
        scaler = getattr(self, "loss_scaler", None)
        self._method = build_method(
            self._method_config,
            self.optimizer,
            model,
            total_steps=math.ceil(max_counts / self._accumulative_counts),
            scaler=scaler,
        )
        if self._method_state is not None:
            self._load_method(self._method_state)
        self._model = model
        self._inner = model.module if is_model_wrapper(model) else model
        self.record_losses |= self._method.needs_losses
        if self.record_losses:
            self._recorder = PerSampleLossRecorder(self._inner, self._loss_modules)
        model.register_forward_pre_hook(self._keep_call, with_kwargs=True)
        model.register_forward_hook(self._keep_vector)

    @torch.compiler.disable
    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Turn the loss of pass 1 into an update; runs what other passes the method asks for."""
        result = self.method.gradient(_WrapperPasses(self, loss))
        self._inner_count += 1  # once a micro-batch, however many backward passes it took
        self.last_result = result
        self._finite = result.finite if self._finite is None else self._finite & result.finite
        if self.should_update():
            self._step_if_finite(self._finite, step_kwargs or {})
            self.zero_grad(**(zero_kwargs or {}))
            self._finite = None

    @property
    def accumulates(self) -> bool:
        """Whether an update comes from more than one batch."""
        return self._accumulative_counts > 1

    def scale_loss(self, loss: Tensor) -> Tensor:
        # MMEngine divides by 1 where nothing is accumulated: twice two operators a step.
        return super().scale_loss(loss) if self.accumulates else loss

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        local = (
            self._method is not None
            and self._method.local_first_pass
            and not in_second_pass()
            and hasattr(model, "no_sync")
        )
        with model.no_sync() if local else nullcontext(), super().optim_context(model):
            yield

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        if self._method is not None:
            state["method"] = {
                "state": self._method.method_state(),
                "skipping": self._method.skipping.state_dict(),
            }
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        method = state_dict.pop("method", None)
        super().load_state_dict(state_dict)
        # The runner loads a checkpoint before the wrapper meets the model.
        if self._method is None:
            self._method_state = method
        elif method is not None:
            self._load_method(method)

    def forward_again(self, subset: Tensor | None = None) -> ForwardRecord:
        """Run the forward pass of the present batch, or of a part of it, once more."""
        if self._call is None:
            raise AusamError(
                f"{type(self._inner).__name__} computed its loss without a forward call in "
                "mode='loss', so its second pass cannot be run; models that override train_step "
                "are not supported"
            )
        args, kwargs = self._call
        if subset is not None:
            size = batch_length(kwargs) or batch_length(args)
            args = tuple(part_of_batch(value, subset, size) for value in args)
            kwargs = part_of_batch(kwargs, subset, size)
        if self.method.replay_random_state and self._before_forward is not None:
            self._before_forward.restore()
        with self.optim_context(self._model):
            losses = self._model(*args, **kwargs)
        return self.make_record(self._inner.parse_losses(losses)[0])

    def make_record(self, loss: Tensor) -> ForwardRecord:
        """The record of the forward pass that has just run."""
        per_sample, self._vector = self._vector, None
        weights = weights_of_pass(self.batch)
        if weights is not None:
            if per_sample is None:
                raise AusamError(
                    f"the selection weights samples, but {type(self._inner).__name__} returns a "
                    "loss that is reduced already; let the model return a vector with the loss of "
                    "each sample"
                )
            loss = mean_loss(per_sample, weights)
        if self._recorder is not None:
            self._recorder.stop()
            recorded = self._recorder.take()
            per_sample = recorded if per_sample is None else per_sample
        outputs = getattr(self._inner, "last_outputs", None)
        return ForwardRecord(total=loss, per_sample=per_sample, outputs=outputs)

    def _step_if_finite(self, finite: Tensor, step_kwargs: dict[str, Any]) -> None:
        skipping = self.method.skipping
        if self.method.scaler is not None:
            skipping.count(finite)  # the gradient is poisoned: the scaler skips and backs off
            self.step(**step_kwargs)
        else:
            skipping.step(self.optimizer, finite, lambda: self.step(**step_kwargs))

    def _keep_call(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if kwargs.get("mode") != "loss" or not module.training:
            return
        if not in_second_pass():
            self._call = (args, kwargs)
            self.method.prepare()
            if self.method.replay_random_state:
                self._before_forward = RandomState.capture()
        if self._recorder is not None:
            self._recorder.start()

    def _keep_vector(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Use the loss of each sample where the model returns one; parse_losses averages it."""
        self._vector = None
        if not (self.record_losses and module.training and isinstance(output, dict)):
            return
        losses = [v for k, v in output.items() if "loss" in k]
        if losses and all(isinstance(v, Tensor) and v.dim() == 1 and len(v) > 1 for v in losses):
            if len({len(v) for v in losses}) == 1:
                self._vector = torch.stack(losses).sum(0) if len(losses) > 1 else losses[0]

    def _load_method(self, state: dict[str, Any]) -> None:
        self.method.load_method_state(state["state"])
        self.method.skipping.load_state_dict(state["skipping"])


class _WrapperPasses(Passes):
    """Pass 1 has been run by ``train_step``; the others repeat it."""

    def __init__(self, wrapper: MethodMixin, loss: Tensor) -> None:
        self._wrapper, self.batch = wrapper, wrapper.batch
        self._first: ForwardRecord | None = wrapper.make_record(loss)
        # 1 without accumulation; known on the host, nothing is read from a device.
        self.averaged = wrapper.should_sync()
        self._factor = float(wrapper.scale_loss(torch.ones(()))) if wrapper.accumulates else 1.0

    def forward(self, subset: Tensor | None = None) -> ForwardRecord:
        first, self._first = self._first, None
        return self._wrapper.forward_again(subset) if first is None else first

    def backward(self, record: ForwardRecord) -> None:
        loss = self._wrapper.scale_loss(record.total)
        self._wrapper.backward(loss, gradient=loud(loss))
        # backward() counts it; taken back so that should_sync() and scale_loss() go on answering
        # for this micro-batch and not for the next.
        self._wrapper._inner_count -= 1

    def unscaled(self, norm: Tensor) -> Tensor:
        scaler = self._wrapper.method.scaler
        if scaler is not None:
            return norm / scaler.scale(norm.new_full((), self._factor))
        return norm if self._factor == 1.0 else norm / self._factor
