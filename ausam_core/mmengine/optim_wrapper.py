"""A method inside MMEngine's optimizer wrapper: no model, head, loop or runner is touched.

``train_step`` runs pass 1 and calls ``update_params(loss)``; there the method runs the rest. Pass 2
repeats the forward with the arguments that a pre-hook kept, so it sees the batch *after* the data
preprocessor, random batch augmentation included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from mmengine.device import get_device, is_cuda_available, is_npu_available
from mmengine.model import is_model_wrapper
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import Tensor, nn

from ausam_core.errors import AusamError
from ausam_core.losses import ForwardRecord
from ausam_core.methods import Method, StepResult
from ausam_core.mmengine.build import build_method
from ausam_core.passes import Passes, in_second_pass
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
        self._method = build_method(self._method_config, self.optimizer, model, scaler=scaler)
        if self._method_state is not None:
            self._load_method(self._method_state)
        self._model = model
        self._inner = model.module if is_model_wrapper(model) else model
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
        self.last_result = result
        self._finite = result.finite if self._finite is None else self._finite & result.finite
        if self.should_update():
            self._step_if_finite(self._finite, step_kwargs or {})
            self.zero_grad(**(zero_kwargs or {}))
            self._finite = None

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

    def forward_again(self) -> ForwardRecord:
        """Run the forward pass of the present batch once more, at the present weights."""
        if self._call is None:
            raise AusamError(
                f"{type(self._inner).__name__} computed its loss without a forward call in "
                "mode='loss', so its second pass cannot be run; models that override train_step "
                "are not supported"
            )
        # backward() counted pass 1; taken back so that should_sync() and scale_loss() answer
        # for this micro-batch and not for the next.
        self._inner_count -= 1
        args, kwargs = self._call
        if self.method.replay_random_state and self._before_forward is not None:
            self._before_forward.restore()
        with self.optim_context(self._model):
            losses = self._model(*args, **kwargs)
        return self.make_record(self._inner.parse_losses(losses)[0])

    def make_record(self, loss: Tensor) -> ForwardRecord:
        """The record of the forward pass that has just run."""
        per_sample, self._vector = self._vector, None
        if self._recorder is not None:
            self._recorder.stop()
            recorded = self._recorder.take()
            per_sample = recorded if per_sample is None else per_sample
        return ForwardRecord(total=loss, per_sample=per_sample)

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

    @property
    def sees_each_sample(self) -> bool:
        """Whether there is a loss module from which the loss of each sample can be had."""
        return self._recorder is not None and bool(self._recorder.watched)


class _WrapperPasses(Passes):
    """Pass 1 has been run by ``train_step``; the others repeat it."""

    def __init__(self, wrapper: MethodMixin, loss: Tensor) -> None:
        self._wrapper = wrapper
        self._first: ForwardRecord | None = wrapper.make_record(loss)
        self._factor = wrapper.scale_loss(torch.ones(()))

    def forward(self) -> ForwardRecord:
        first, self._first = self._first, None
        return self._wrapper.forward_again() if first is None else first

    def backward(self, record: ForwardRecord) -> None:
        self._wrapper.backward(self._wrapper.scale_loss(record.total))

    def unscaled(self, norm: Tensor) -> Tensor:
        scaler = self._wrapper.method.scaler
        factor = float(self._factor)
        if scaler is not None:
            return norm / scaler.scale(norm.new_full((), factor))
        return norm if factor == 1.0 else norm / factor


@OPTIM_WRAPPERS.register_module()
class SAMOptimWrapper(MethodMixin, OptimWrapper):
    """``OptimWrapper`` whose update is a method's: SAM, or any other by its config.

    Example:
        >>> optim_wrapper = dict(
        ...     type='SAMOptimWrapper',
        ...     method=dict(type='SAM', rho=0.05),
        ...     optimizer=dict(type='Adam', lr=1e-3, fused=True))
    """


@OPTIM_WRAPPERS.register_module()
class SAMAmpOptimWrapper(MethodMixin, AmpOptimWrapper):
    """``AmpOptimWrapper`` whose update is a method's.

    Nothing is unscaled between the passes, because ``g/‖g‖`` does not depend on the loss scale. On
    a machine without an accelerator it runs in bf16 on the CPU, where MMEngine's own refuses to
    start.

    Args:
        loss_scale, dtype, use_fsdp: see :class:`mmengine.optim.AmpOptimWrapper`.
        **kwargs: see :class:`SAMOptimWrapper`.
    """

    def __init__(
        self,
        loss_scale: str | float | dict[str, Any] = "dynamic",
        dtype: str | torch.dtype | None = None,
        use_fsdp: bool = False,
        *,
        method: Mapping[str, Any] | None = None,
        loss_modules: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if use_fsdp:
            raise AusamError(
                "use_fsdp=True is not supported: the norm of a sharded gradient would miss the "
                "other shards; use DistributedDataParallel"
            )
        if is_cuda_available() or is_npu_available():
            AmpOptimWrapper.__init__(self, loss_scale=loss_scale, dtype=dtype, **kwargs)
        else:
            OptimWrapper.__init__(self, **kwargs)
            self._scale_update_param = loss_scale if isinstance(loss_scale, float) else None
            settings = (
                dict(loss_scale)
                if isinstance(loss_scale, dict)
                else {"init_scale": loss_scale}
                if isinstance(loss_scale, float)
                else {}
            )
            self.loss_scaler = torch.amp.GradScaler(get_device(), **settings)
            self.cast_dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        self.set_method(method or dict(type="SAM"), loss_modules)


_PROMOTED = {OptimWrapper: SAMOptimWrapper, AmpOptimWrapper: SAMAmpOptimWrapper}


def promote(wrapper: Any, method: Mapping[str, Any]) -> None:
    """Turn MMEngine's own wrapper into ours, in place.

    In place, because parameter schedulers have already put their counter on the object's ``step``.

    Raises:
        AusamError: for a wrapper that cannot run a second pass, by name.
    """
    if type(wrapper) not in _PROMOTED:
        raise AusamError(
            f"AUSAMHook can work with OptimWrapper, AmpOptimWrapper, SAMOptimWrapper and "
            f"SAMAmpOptimWrapper, found {type(wrapper).__name__}"
            f"{_why_not(type(wrapper).__name__)}; set optim_wrapper.type to one of those"
        )
    wrapper.__class__ = _PROMOTED[type(wrapper)]
    wrapper.set_method(method)


def _why_not(name: str) -> str:
    return {
        "ApexOptimWrapper": " (Apex moves its loss scale at every backward, and SAM needs two)",
        "OptimWrapperDict": " (with several optimizers the model steps them itself)",
        "DeepSpeedOptimWrapper": " (DeepSpeed's engine owns backward and step)",
    }.get(name, "")
