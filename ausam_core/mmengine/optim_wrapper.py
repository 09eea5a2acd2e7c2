"""MMEngine's optimizer wrappers with a method in them, and the promotion of MMEngine's own.

``train_step`` runs pass 1 and calls ``update_params(loss)``; there the method runs the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from mmengine.device import get_device, is_cuda_available, is_npu_available
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import Tensor, nn

from ausam_core.errors import AusamError
from ausam_core.losses import ForwardRecord
from ausam_core.methods import Method
from ausam_core.mmengine.build import build_method, check_method
from ausam_core.mmengine.exchange import Exchange
from ausam_core.mmengine.model_call import ModelCall
from ausam_core.passes import Passes, in_second_pass
from ausam_core.ranks import without_averaging
from ausam_core.step_result import StepResult


class MethodRun:
    """The method of a wrapper: waiting for the model, then at work.

    Args:
        config: of the method, ``dict(type='SAM', rho=0.05)``.
        loss_modules: see :class:`~ausam_core.PerSampleLossRecorder`.
    """

    def __init__(
        self, config: Mapping[str, Any], loss_modules: Sequence[str] | None = None
    ) -> None:
        check_method(config)
        self.config, self.loss_modules = dict(config), loss_modules
        self.exchange = Exchange()
        self.method: Method | None = None
        self.call: ModelCall | None = None
        # Of a checkpoint that was loaded before the model was met.
        self.state: dict[str, Any] | None = None

    def meet(self, wrapper: SAMOptimWrapper, model: nn.Module, done: int, steps: int) -> None:
        """Build the method around the model.

        Args:
            wrapper: whose method this is.
            model: the model, possibly wrapped.
            done: updates that were made before, as by a run without a method that is resumed.
            steps: updates of the run.
        """
        config = dict(self.config)
        if self.exchange.start is not None:
            config["start"] = self.exchange.start
        scaler = getattr(wrapper, "loss_scaler", None)
        self.method = build_method(config, wrapper.optimizer, model, scaler=scaler)
        # Where nobody tells the epochs each step is one: a share of the run is one of its steps.
        self.method.begin_run(self.exchange.epochs or max(steps, 1), max(steps, 1))
        self.method.updates = done
        if self.state is not None:
            self.method.load_run_state(self.state)
        self.call = ModelCall(
            model, self.method, self.exchange, wrapper.optim_context, self.loss_modules
        )


@OPTIM_WRAPPERS.register_module()
class SAMOptimWrapper(OptimWrapper):
    """``OptimWrapper`` whose update is a method's: SAM, or any other by its config.

    Args:
        method: config of the method, ``dict(type='SAM', rho=0.05)``; the type is a name registered
            in :data:`~ausam_core.mmengine.METHODS`, or a class.
        loss_modules: names of the modules that compute the loss of each sample, where finding them
            is not good enough; see :class:`~ausam_core.PerSampleLossRecorder`.
        **kwargs: see :class:`mmengine.optim.OptimWrapper`; all of them keep their meaning.

    Example:
        >>> optim_wrapper = dict(
        ...     type='SAMOptimWrapper',
        ...     method=dict(type='SAM', rho=0.05),
        ...     optimizer=dict(type='Adam', lr=1e-3, fused=True))
    """

    method_run: MethodRun

    def __init__(
        self,
        *args: Any,
        method: Mapping[str, Any] | None = None,
        loss_modules: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.method_run = MethodRun(method or dict(type="SAM"), loss_modules)

    @property
    def method(self) -> Method:
        """The method at work.

        Raises:
            AusamError: before the wrapper has met the model.
        """
        if self.method_run.method is None:
            raise AusamError(
                f"{type(self).__name__} has not met the model yet; MMEngine's Runner introduces "
                "them, a loop of your own calls initialize_count_status(model, 0, max_iters)"
            )
        return self.method_run.method

    @property
    def last_result(self) -> StepResult | None:
        """What the last ``update_params`` left behind."""
        return self.method_run.exchange.result

    def exchange_with(self, exchange: Exchange) -> None:
        """Share an object with the hook that chooses samples; before the wrapper meets the
        model."""
        self.method_run.exchange = exchange

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        super().initialize_count_status(model, init_counts, max_counts)
        if self.method_run.method is None:
            batches = self._accumulative_counts
            self.method_run.meet(
                self, model, init_counts // batches, math.ceil(max_counts / batches)
            )

    @torch.compiler.disable
    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Turn the loss of pass 1 into an update; runs what other passes the method asks for."""
        run, method = self.method_run, self.method
        assert run.call is not None
        call = run.call
        run.exchange.result = method.run(lambda: _WrapperPasses(self, call.record(loss)))
        call.forget()
        self._inner_count += 1  # once a micro-batch, however many backward passes it took
        if self.should_update():
            method.apply(method.ready_to_apply(), lambda: self.step(**(step_kwargs or {})))
            self.zero_grad(**(zero_kwargs or {}))

    @property
    def accumulates(self) -> bool:
        """Whether an update comes from more than one batch."""
        return self._accumulative_counts > 1

    def scale_loss(self, loss: Tensor) -> Tensor:
        # MMEngine divides by 1 where nothing is accumulated: twice two operators a step.
        return super().scale_loss(loss) if self.accumulates else loss

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        method = self.method_run.method
        local = method is not None and method.first_pass_is_local and not in_second_pass()
        looks = method is not None and not method.running and method.looks_first
        averaging = without_averaging(model) if local else nullcontext()
        graph = torch.no_grad() if looks else nullcontext()
        call = self.method_run.call
        try:
            if call is not None:
                call.in_step = True
            with averaging, graph, super().optim_context(model):
                yield
        except BaseException:
            if method is not None and not method.running:
                method.abandon()  # pass 1 did not come to its end
            raise
        finally:
            if call is not None:
                call.in_step = False

    def check_losses(self) -> bool:
        """Hold the recorded losses against the loss that is differentiated; waits for the device.

        Returns:
            Whether there was something to hold; not where a batch was not finite.

        Raises:
            AusamError: where a part of the loss is not seen.
        """
        return self.method_run.call is not None and self.method_run.call.check()

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        if self.method_run.method is not None:
            state["method"] = self.method_run.method.run_state()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = dict(state_dict)  # the caller's stays whole
        method = own.pop("method", None)
        super().load_state_dict(own)
        # The runner loads a checkpoint before the wrapper meets the model.
        if self.method_run.method is None:
            self.method_run.state = method
        elif method is not None:
            self.method_run.method.load_run_state(method)


@OPTIM_WRAPPERS.register_module()
class SAMAmpOptimWrapper(SAMOptimWrapper, AmpOptimWrapper):
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
            self._start_on_the_cpu(loss_scale, dtype)
        self.method_run = MethodRun(method or dict(type="SAM"), loss_modules)

    def _start_on_the_cpu(
        self, loss_scale: str | float | dict[str, Any], dtype: str | torch.dtype | None
    ) -> None:
        if dtype not in (None, "bfloat16", torch.bfloat16):
            raise AusamError(
                f"mixed precision on the CPU is bfloat16, found dtype={dtype!r}; leave dtype out, "
                "or train on a GPU"
            )
        if loss_scale == "dynamic":
            settings: dict[str, Any] = {}
        elif isinstance(loss_scale, float):
            settings = {"init_scale": loss_scale}
        elif isinstance(loss_scale, dict):
            settings = loss_scale
        else:
            raise AusamError(
                f'loss_scale must be "dynamic", a float, or a dict, found {loss_scale!r}'
            )
        self._scale_update_param = loss_scale if isinstance(loss_scale, float) else None
        self.loss_scaler = torch.amp.GradScaler(get_device(), **settings)
        self.cast_dtype = torch.bfloat16


class _WrapperPasses(Passes):
    """Pass 1 has been run by ``train_step``; the others repeat it."""

    def __init__(self, wrapper: SAMOptimWrapper, first: ForwardRecord) -> None:
        run, call = wrapper.method_run, wrapper.method_run.call
        assert call is not None
        super().__init__(
            wrapper.method, run.exchange.batch, first=first, random_state=call.random_state
        )
        self._wrapper, self._call = wrapper, call
        self.averaged = self.averaged and wrapper.should_sync()

    @property
    def size(self) -> int | None:
        return self._call.size()

    def is_scaled(self) -> bool:
        return self._wrapper.accumulates or self.method.scaler is not None

    def run_forward(self, subset: Tensor | None) -> ForwardRecord:
        return self._call.again(subset)

    def run_backward(self, loss: Tensor) -> None:
        self._wrapper.backward(self._wrapper.scale_loss(loss))
        # backward() counts it; taken back so that should_sync() and scale_loss() go on answering
        # for this micro-batch and not for the next.
        self._wrapper._inner_count -= 1


_REFUSED = {
    "ApexOptimWrapper": "Apex moves its loss scale at every backward, and SAM needs two",
    "OptimWrapperDict": "with several optimizers the model steps them itself",
    "DeepSpeedOptimWrapper": "DeepSpeed's engine owns backward and step",
}


def promote(
    wrapper: Any, method: Mapping[str, Any], loss_modules: Sequence[str] | None = None
) -> None:
    """Turn a project's wrapper into one with a method, in place.

    In place, because parameter schedulers have already put their counter on the object's ``step``.
    A user's subclass keeps what it overrides (``backward``, ``step``, ``optim_context``, …).

    Raises:
        AusamError: for a wrapper that cannot run a second pass, by name.
    """
    own = type(wrapper)
    why = next((_REFUSED[c.__name__] for c in own.__mro__ if c.__name__ in _REFUSED), None)
    if why is None and not isinstance(wrapper, OptimWrapper):
        why = "it is not derived from OptimWrapper"
    if why is None and own.update_params is not OptimWrapper.update_params:
        why = "it has an update_params of its own, which is where a method works"
    if why is not None:
        raise AusamError(
            f"AUSAMHook cannot work with {own.__name__} ({why}); set optim_wrapper.type to "
            "OptimWrapper, AmpOptimWrapper or a subclass that leaves update_params alone"
        )
    ours = SAMAmpOptimWrapper if isinstance(wrapper, AmpOptimWrapper) else SAMOptimWrapper
    stock = own in (OptimWrapper, AmpOptimWrapper)
    wrapper.__class__ = ours if stock else type(f"SAM{own.__name__}", (ours, own), {})
    wrapper.method_run = MethodRun(method, loss_modules)
