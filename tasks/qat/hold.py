"""Weights that stand still while BatchNorm goes on training: a network's last epochs.

Park and Yoo, "PROFIT: A Novel Training Method for sub-4-bit MobileNet Models" (ECCV 2020), find
that a code which flips moves the statistics of what its layer puts out, and that low bits suffer
from it most. Their code (`--stabilize`) ends the training at each bit width with epochs in which
weights stand still (5, after 15 of all parameters) and BatchNorm, biases and quantizers go on.

Here the steps of weights stand still as well: where a step moves, codes flip. What does not train
is not perturbed either, so SAM becomes SAM-ON, which climbs in the parameters of normalisation
alone (Müller et al., NeurIPS 2023), plus biases.
"""

from __future__ import annotations

from ausam_core.errors import AusamError
from tasks.qat.network import QuantizedNetwork


def hold_weights(network: QuantizedNetwork, hold: bool = True) -> list[str]:
    """Let weights and their steps stand still, so that no code of a weight changes any more.

    What goes on: the affine parameters of BatchNorm, biases, and the steps of activations. The
    optimizer stays as it is: it passes over what has no gradient, with its momentum and weight
    decay, and so do dampening and freezing. The backward pass computes no gradient of a held
    weight. Call it between two updates. Under ``DistributedDataParallel`` the wrapper needs
    ``find_unused_parameters=True``.

    Args:
        network: the network.
        hold: False lets all of them train again.

    Returns:
        The names of the parameters that go on training.

    Raises:
        AusamError: where nothing but steps would go on.
    """
    held = {p for p in network.parameters() if p.dim() > 1}
    held |= {layer.step for _, layer in network.layers()}
    going_on = [name for name, p in network.named_parameters() if p not in held]
    steps = {f"body.{name}.step" for name in network.activations()}
    if steps.issuperset(going_on):
        raise AusamError(
            "without its weights this network has nothing to train but quantization steps; it has "
            "neither BatchNorm with affine parameters nor biases"
        )
    for parameter in held:
        parameter.requires_grad_(not hold)
        if hold:
            parameter.grad = None
    return going_on
