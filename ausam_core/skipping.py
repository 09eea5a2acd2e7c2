"""Skip an update whose loss or gradient is not finite, count it, and stop when that becomes the
rule.

With an optimizer made with ``fused=True`` the decision stays on the device: its kernel takes a
flag, as it does for ``GradScaler``, and leaves weights, momentum and step count alone. Other
optimizers cannot be told, so there the flag is read on the host, which on CUDA waits for the
backward pass (``GradScaler`` does the same with them).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ausam_core.errors import AusamError


class SkipNonFinite:
    """Runs an optimizer's step only where the gradient is finite.

    Args:
        max_in_a_row: :meth:`check` raises after that many skipped updates in a row. A loss scale
            that starts at 2¹⁶ may legitimately need 16 to settle.
    """

    def __init__(self, max_in_a_row: int = 20) -> None:
        if max_in_a_row < 1:
            raise AusamError(f"max_in_a_row must be 1 or more, found {max_in_a_row}")
        self.max_in_a_row = max_in_a_row
        self._skipped = self._in_a_row = self._longest = torch.zeros(())

    def step(
        self, optimizer: torch.optim.Optimizer, finite: Tensor, step: Callable[[], object]
    ) -> None:
        """Call ``step`` unless ``finite`` is False.

        Args:
            optimizer: the optimizer that ``step`` will call.
            finite: 0-dim bool, on any device.
            step: clips if need be and calls ``optimizer.step()``.
        """
        bad = self.count(finite)
        if all(group.get("fused") for group in optimizer.param_groups):
            optimizer.grad_scale, optimizer.found_inf = None, bad
            try:
                step()
            finally:
                del optimizer.grad_scale, optimizer.found_inf
        elif bool(finite):
            step()

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
        return {"skipped": self.read()[0]}

    def load_state_dict(self, state: dict[str, int]) -> None:
        # The row is not carried over: whoever resumes has looked at it.
        self._skipped = torch.tensor(float(state["skipped"]))
        self._in_a_row, self._longest = torch.zeros(()), torch.zeros(())
