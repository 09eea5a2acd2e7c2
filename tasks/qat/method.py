"""SAM and its relatives on a quantized network: what is perturbed, what is learned in which pass.

ε moves latent weights, biases and BatchNorm's affine parameters. It never moves steps: a step moves
every weight of its channel, and the gradients of task and sharpness conflict there (GAQAT). The
ascent pass therefore needs no gradient of a step, and with SAM computes none. With
``excluded_pass=1`` it is the other way round: steps descend by the gradient of the task alone, that
of the ascent pass.
"""

from __future__ import annotations

from typing import Literal

from ausam_core import SAM, AusamError, Method
from tasks.qat.network import QuantizedNetwork
from tasks.qat.steps import is_step


def adapt_to_method(
    network: QuantizedNetwork,
    method: Method,
    perturb: Literal["latent", "quantized"] = "latent",
) -> None:
    """Let a quantized network compute in each pass what the method that trains it needs of it.

    Args:
        network: the network.
        method: around the optimizer of its parameters, with ``exclude=[STEPS]``.
        perturb: see :class:`~tasks.qat.layers.Behaviour`. ``"quantized"`` needs a method whose
            first pass does nothing but find the direction: SAM or ASAM.

    Raises:
        AusamError: for a method that would perturb steps, and for ``"quantized"`` with a method
            that cannot.
    """
    if perturb not in ("latent", "quantized"):
        raise AusamError(f'perturb must be "latent" or "quantized", found {perturb!r}')
    always_twice = type(method) is SAM
    if perturb == "quantized" and not always_twice:
        raise AusamError(
            f'perturb="quantized" takes the gradient of the first pass at the quantized weights, '
            f"and {type(method).__name__} also descends by it; use SAM"
        )
    perturbation = getattr(method, "perturbation", None)
    if perturbation is not None:
        excluded = perturbation.excluded
        for name, step in network.named_parameters():
            if is_step(name) and (excluded is None or not excluded(name, step)):
                raise AusamError(
                    f"{type(method).__name__} would perturb the quantization step {name}; give the "
                    "method exclude=[r'\\bstep$']"
                )
    network.behaviour.two_passes = always_twice
    network.behaviour.step_pass = getattr(method, "excluded_pass", 2)
    network.behaviour.perturb = perturb
