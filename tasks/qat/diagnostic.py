"""Does AUSAM's score tell how large a sample's gradient is, in a quantized network?

AUSAM draws samples by ``d_i = |ℓ_i(w+ε) − ℓ_i(w)|``, which to first order goes with the norm of the
sample's gradient (paper, Lemma 1). Quantized, ``Q(w + ε)`` differs from ``Q(w)`` where codes flip,
and by a whole step: d_i mixes in what a few flips do. Here both are measured on real samples, in
one batch, so that BatchNorm is what it is in training.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ausam_core import SAM, RunningStatistics
from tasks.qat.method import adapt_to_method
from tasks.qat.network import QuantizedNetwork
from tasks.qat.steps import STEPS, is_step


@dataclass
class Diagnosis:
    """How scores and gradients of the same samples go together.

    Attributes:
        correlation: Spearman's rank correlation of score and gradient norm, over all samples.
        flipped: share of codes that ε flips, mean over the batches.
        scores, norms: ``[n]``, the pairs.
    """

    correlation: float
    flipped: float
    scores: Tensor
    norms: Tensor


def diagnose(
    network: QuantizedNetwork,
    batches: Iterable[tuple[Tensor, Tensor]],
    perturb: Literal["latent", "quantized"],
    rho: float = 0.05,
) -> Diagnosis:
    """Compare the scores of a SAM step with the norms of single gradients.

    A gradient is that of ``ℓ_i`` by everything that ε moves, with the other samples of the batch in
    BatchNorm. Nothing is updated; the network is as it was afterwards.

    Args:
        network: trained and calibrated.
        batches: normalised images ``[N, C, H, W]`` and labels ``[N]``; a backward pass each sample.
        perturb: what ε is added to, see :class:`~tasks.qat.layers.Behaviour`.
        rho: radius of SAM.
    """
    behaviour, was_training = network.behaviour, network.training
    kept = replace(behaviour)
    method = SAM(torch.optim.SGD(network.parameters(), lr=0.0), network, rho, exclude=[STEPS])
    adapt_to_method(network, method, perturb)
    network.train()
    scores, norms, flipped = [], [], []
    try:
        with RunningStatistics(network).frozen():
            for images, labels in batches:
                norms.append(gradient_norms(network, images, labels))
                codes: list[list[Tensor]] = []

                def losses(images=images, labels=labels, codes=codes) -> Tensor:
                    codes.append([layer.codes() for _, layer in network.layers()])
                    return F.cross_entropy(network(images), labels, reduction="none")

                scores.append(method.accumulate(losses).difference)
                method.optimizer.zero_grad(set_to_none=True)
                flipped.append(_flipped(*codes))
    finally:
        vars(behaviour).update(vars(kept))
        network.train(was_training)
    all_scores, all_norms = torch.cat(scores), torch.cat(norms)
    return Diagnosis(
        correlation=rank_correlation(all_scores, all_norms),
        flipped=sum(flipped) / len(flipped),
        scores=all_scores,
        norms=all_norms,
    )


def gradient_norms(network: QuantizedNetwork, images: Tensor, labels: Tensor) -> Tensor:
    """``‖∂ℓ_i‖`` of each sample, ``[N]``, by the parameters that ε moves.

    With ``perturb="quantized"`` the gradient by a weight is ∂ℓ_i/∂Q(w), as the one that ε has.
    """
    parameters = [p for name, p in network.named_parameters() if not is_step(name)]
    losses = F.cross_entropy(network(images), labels, reduction="none")
    norms = []
    for loss in losses:
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        parts = torch._foreach_norm([g for g in gradients if g is not None])
        norms.append(torch.linalg.vector_norm(torch.stack(parts)))
    return torch.stack(norms)


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's ρ of two vectors without ties."""
    ranks = torch.stack([a.argsort().argsort(), b.argsort().argsort()]).double()
    return float(torch.corrcoef(ranks)[0, 1])


def _flipped(before: list[Tensor], after: list[Tensor]) -> float:
    changed = sum(int((a != b).sum()) for a, b in zip(before, after, strict=True))
    return changed / sum(a.numel() for a in before)
