"""vSAM: SAM steps at a rate that follows how much SAM's gradient varies.

Deng, Pang, Zhang, Wang, "Effective Gradient Sample Size via Variation Estimation for Accelerating
Sharpness aware Minimization" (arXiv 2403.08821), by the authors of AUSAM. With ``psf = g_p − g``: a
window of W steps has a quota q of SAM steps, taken at random times; the other steps descend by
``g + r·psf`` with the last psf and r ← β·r, until r falls to β⁶. At the end of a window the quota
follows how ``‖psf‖/‖g‖`` and the variance of ``‖psf‖`` changed.

The rule is read from the authors' code, whose state (quota, windows, random state) is not in its
checkpoint and whose quota lives on the device and waits for it at every step. Here: norms stay on
the device until the end of their window, draws are a function of (seed, step) and the same on all
ranks, a change from 0 counts as none (there NaN, for good), and norms are over all weights (there
over the last ten tensors).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.errors import AusamError
from ausam_core.methods.directions import Directions, keep_finite, loaded, norm_of, saved
from ausam_core.methods.sam import SAM
from ausam_core.passes import Passes
from ausam_core.random_state import keyed_generator
from ausam_core.ranks import average, is_sharded
from ausam_core.step_result import StepResult


class VSAM(SAM):
    """SAM at a variable rate.

    Memory: a copy of the weights for psf, and one of the gradient in a SAM step.

    Args:
        optimizer, model, rho: see :class:`~ausam_core.SAM`.
        warmup_steps: so many SAM steps at the beginning; three epochs in the authors' code.
        window: W steps.
        alpha: how strongly the quota follows the ratio and the variance.
        beta: decay of the reused psf.
        seed: seed of the draws, the same on all ranks.
        **kwargs: see :class:`~ausam_core.SAM`.
    """

    def __init__(
        self,
        optimizer: Any,
        model: nn.Module,
        rho: float = 0.05,
        warmup_steps: int = 0,
        window: int = 50,
        alpha: tuple[float, float] = (0.13, 0.13),
        beta: float = 0.7,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(optimizer, model, rho, **kwargs)
        if window < 2 or warmup_steps < 0:
            raise AusamError(
                f"window must be 2 or more and warmup_steps 0 or more, found {window}, "
                f"{warmup_steps}"
            )
        if self.local_first_pass or self.perturbation.adaptive:
            raise AusamError(
                'vSAM reuses a direction that all ranks share; use perturb="global" and '
                "adaptive=False"
            )
        self.warmup_steps, self.window, self.alpha = warmup_steps, window, tuple(alpha)
        self.beta, self.seed = beta, seed
        self.steps, self.sam_steps, self.done = 0, 0, 0
        self.quota, self.reuse = 1.0, 0.0
        self._psf: Directions = {}
        self._seen: list[Tensor] = []
        self._last: tuple[float, float] | None = None

    @property
    def one_pass(self) -> bool:
        return not self._take_sam_step()

    def gradient(self, passes: Passes) -> StepResult:
        take = self._take_sam_step()
        first = self.first_pass(passes)
        if take:
            climb, second, direction = self.second_pass(passes, keep_direction=True)
            result = self.perturbed_result(passes, first, second, climb)
            self._keep_psf(direction, climb.norm, passes)
        else:
            norm = self.perturbed_norm(passes)
            result = self.plain_result(passes, first, norm)
            self._reuse_psf(norm, passes)
        self._end_step()
        return result

    def method_state(self) -> dict[str, Any]:
        return {
            "counts": [self.steps, self.sam_steps, self.done],
            "quota": self.quota,
            "reuse": self.reuse,
            "last": self._last,
            "seen": self._saved_seen(),
            "psf": saved(self.parameters(), self._psf),
        }

    def load_method_state(self, state: dict[str, Any]) -> None:
        self.steps, self.sam_steps, self.done = state["counts"]
        self.quota, self.reuse = state["quota"], state["reuse"]
        self._last = None if state["last"] is None else tuple(state["last"])
        self._psf = loaded(self.parameters(), state["psf"])
        like = self.parameters()[0]
        dtype = torch.promote_types(like.dtype, torch.float32)  # that of a norm
        # The rows of a table, or a list of rows as it was saved before.
        self._seen = [row.to(like.device, dtype) for row in state["seen"]][-self.window :]

    def _saved_seen(self) -> Tensor:
        """What the window saw, ``[W, 2]``, fp64 on the CPU: as large at any time, so that
        ``torch.distributed.checkpoint`` can load it into a fresh method.

        The rows that are missing are the first, as the oldest go first, and NaN, which counts
        nowhere.
        """
        table = torch.full((self.window, 2), torch.nan, dtype=torch.float64)
        if self._seen:
            table[-len(self._seen) :] = torch.stack(self._seen).to(table)
        return table

    def _take_sam_step(self) -> bool:
        step = self.steps - self.warmup_steps
        if step < 0:
            return True
        quota, left = int(self.quota), self.window - step % self.window
        if self.done >= quota:
            return False
        chance = float(torch.rand((), generator=keyed_generator("vSAM", self.seed, self.steps)))
        return chance >= 1 - self.quota / self.window or left <= quota - self.done

    @torch.no_grad()
    def _keep_psf(self, direction: Directions, norm: Tensor, passes: Passes) -> None:
        """psf = g_p − g, without loss scale; ``direction`` is g/‖g‖."""
        perturbed = {p: g for p, g in self.local_gradients() if p in direction}
        self.sam_steps, self.done, self.reuse = self.sam_steps + 1, self.done + 1, 1.0
        if not perturbed:
            return
        found = torch._foreach_mul([direction[p] for p in perturbed], -norm)
        torch._foreach_add_(found, list(perturbed.values()))
        unscale = passes.unscaled(torch.ones_like(norm))
        torch._foreach_mul_(found, unscale)
        psf = dict(zip(perturbed, found, strict=True))
        if not passes.averaged:  # all ranks reuse one psf, and decide by its size
            norm = norm.square()
            whole = [t for p, t in psf.items() if not is_sharded(p)]
            average([*whole, norm], self.process_group)
            norm = norm.sqrt()
        size = norm_of(psf)
        self._psf = keep_finite(size < torch.inf, psf, self._psf)
        row = torch.stack([size, size / (norm * unscale + 1e-12)])
        self._seen = [*self._seen, row][-self.window :]  # a warm-up may be longer than a window

    @torch.no_grad()
    def _reuse_psf(self, norm: Tensor, passes: Passes) -> None:
        if self.reuse <= self.beta**6 or not self._psf:
            return
        self.reuse *= self.beta
        pairs = [(g, self._psf[p]) for p, g in self.local_gradients() if p in self._psf]
        pairs = [(g, t) for g, t in pairs if g.shape == t.shape]
        scale = self.reuse / passes.unscaled(torch.ones_like(norm))
        torch._foreach_add_([g for g, _ in pairs], torch._foreach_mul([t for _, t in pairs], scale))

    def _end_step(self) -> None:
        self.steps += 1
        step = self.steps - self.warmup_steps
        if step < 0 or step % self.window:
            return
        self.done = 0
        if not self._seen:
            return
        seen = torch.stack(self._seen).cpu()
        self._seen = []
        seen = seen[seen.isfinite().all(1)]
        if not len(seen):
            return
        found = float(seen[:, 1].mean()), float(seen[:, 0].var(correction=0))
        if self._last is not None:
            change = [_relative_change(a, b) for a, b in zip(self._last, found, strict=True)]
            self.quota *= 1 + sum(a * c for a, c in zip(self.alpha, change, strict=True))
            self.quota = min(max(self.quota, 1.0), int(0.8 * self.window))
        self._last = found


def _relative_change(before: float, now: float) -> float:
    """Between −1 and 1; a change from 0 counts as none."""
    return 0.0 if before == 0 else min(max((now - before) / before, -1.0), 1.0)
