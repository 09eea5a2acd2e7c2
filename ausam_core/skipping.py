"""Skip an update whose loss or gradient is not finite, count it, and stop when that becomes the
rule.

With torch's optimizers made with ``fused=True`` the decision stays on the device: their kernels
take a flag, as they do for ``GradScaler``, and leave weights, momentum and step count alone. Other
optimizers, and wrapped ones, which may do more in a step than what they wrap, cannot be told; so
there the flag is read on the host, which on CUDA waits for the backward pass (``GradScaler`` does
the same with them).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.errors import AusamError
from ausam_core.late_momentum import begin_late_momentum
from ausam_core.ranks import is_sharded
from ausam_core.wrappers import inner_optimizers


class SkipNonFinite:
    """Runs an optimizer's step only where the gradient is finite.

    Args:
        max_in_a_row: :meth:`check` raises after that many skipped updates in a row. A loss scale
            that starts at 2¹⁶ may legitimately need 16 to settle.
    """

    def __init__(self, max_in_a_row: int = 20) -> None:
        if max_in_a_row < 1:
            raise AusamError(f"max_skips must be 1 or more, found {max_in_a_row}")
        self.max_in_a_row = max_in_a_row
        self._skipped = self._in_a_row = self._longest = torch.zeros((), dtype=torch.float32)
        # Parameters that an optimizer has updated once; held, so that an id means one parameter.
        self._updated: dict[int, nn.Parameter] = {}

    def step(self, optimizer: Any, finite: Tensor, step: Callable[[], object]) -> None:
        """Call ``step`` unless ``finite`` is False.

        Args:
            optimizer: the optimizer that ``step`` will call, bare or wrapped.
            finite: 0-dim bool, on any device.
            step: clips if need be and calls ``optimizer.step()``.
        """
        bad = self.count(finite)
        if self.must_read(optimizer) or not _takes_a_flag(optimizer):
            if bool(finite):
                begin_late_momentum(optimizer)
                step()
                self.updated(optimizer)
            return
        optimizer.grad_scale, optimizer.found_inf = None, bad
        try:
            step()
        finally:
            del optimizer.grad_scale, optimizer.found_inf

    def must_read(self, optimizer: Any) -> bool:
        """Whether a parameter is about to be updated for the first time.

        An optimizer makes its state then. A fused kernel that is told to skip leaves momentum as
        the allocator gave it, which may be NaN; so the first update is decided on the host.
        """
        updated = self._updated
        return not all(
            id(p) in updated
            for group in optimizer.param_groups
            for p in group["params"]
            if p.grad is not None
        )

    @property
    def has_updated(self) -> bool:
        """Whether the optimizer is known to have made an update."""
        return bool(self._updated)

    def updated(self, optimizer: Any) -> None:
        """Take note that the optimizer has made its state for every gradient that there is."""
        for group in optimizer.param_groups:
            self._updated.update((id(p), p) for p in group["params"] if p.grad is not None)

    @torch.no_grad()
    def count(self, finite: Tensor) -> Tensor:
        """Take note of one update; returns 1.0 for one to skip and 0.0 for a good one."""
        bad = (~finite).float()
        if self._skipped.device != bad.device or self._skipped is self._longest:
            self._skipped, self._in_a_row, self._longest = (
                t.to(bad.device, copy=True) for t in (self._skipped, self._in_a_row, self._longest)
            )
        self._skipped += bad
        self._in_a_row += 1
        self._in_a_row *= bad
        torch.maximum(self._longest, self._in_a_row, out=self._longest)
        return bad

    def read(self) -> tuple[int, int]:
        """(updates skipped so far, longest row of skipped updates). Waits for the device."""
        skipped, longest = torch.stack([self._skipped, self._longest]).tolist()
        return int(skipped), int(longest)

    def check(self) -> int:
        """Updates skipped so far.

        Waits for the device: call it where the log is written, not in every step.

        Raises:
            AusamError: if ``max_in_a_row`` updates in a row were skipped.
        """
        skipped, longest = self.read()
        if longest >= self.max_in_a_row:
            raise AusamError(
                f"{longest} updates in a row had a loss or gradient that is NaN or infinite, and "
                "were skipped; the weights are those before them, and the last checkpoint is good: "
                "look at the data and lower the learning rate or rho before resuming"
            )
        return skipped

    def state_dict(self) -> dict[str, int]:
        """The number of updates skipped."""
        return {"skipped": self.read()[0]}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on counting; the row starts again, since the run was looked at when it was resumed."""
        self._skipped = torch.tensor(float(state["skipped"]), dtype=torch.float32)
        self._in_a_row, self._longest = (torch.zeros((), dtype=torch.float32) for _ in range(2))


def _takes_a_flag(optimizer: Any) -> bool:
    """Whether an optimizer's kernels take the flag ``found_inf`` that leaves all as it is."""
    return (
        getattr(optimizer, "_step_supports_amp_scaling", False)
        and inner_optimizers(optimizer) == [optimizer]
        and all(
            group.get("fused") and not any(map(is_sharded, group["params"]))
            for group in optimizer.param_groups
        )
    )
