"""Turn a trained quantized network into an integer one, node by node.

BatchNorm goes into the affine map behind its convolution, never into the codes. What is between the
layers (ReLU, sums of residual blocks, pooling) stays in fp64; how, is said operation by operation
in :mod:`tasks.qat.deploy.rules`.
"""

from __future__ import annotations

import copy

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ausam_core.errors import AusamError
from tasks.qat.behind_sums import affine_map, affine_of
from tasks.qat.calls import call_of, input_of, no_integer_form
from tasks.qat.deploy import pooling_rules  # noqa: F401  registers
from tasks.qat.deploy.integer import INT32_EXACT, Accumulate, Rescale, ToCodes
from tasks.qat.deploy.integer_graph import IntegerGraph
from tasks.qat.deploy.rules import RULES
from tasks.qat.deploy.shapes import Shapes
from tasks.qat.graph import in_mode, output_nodes
from tasks.qat.layers import ActivationQuantizer, QuantConv2d, QuantLinear
from tasks.qat.network import QuantizedNetwork
from tasks.qat.steps import FLOOR


@torch.no_grad()
def lower(
    network: QuantizedNetwork, input_shape: tuple[int, int, int] | None = None
) -> fx.GraphModule:
    """The integer form of a network in evaluation mode.

    Args:
        network: trained and calibrated; it is not changed.
        input_shape: of one input, ``(C, H, W)``; by default what it was calibrated with. The size
            of the batch stays free.

    Returns:
        A graph of :mod:`tasks.qat.deploy.integer` and elementary modules: fp32 images in, fp32
        logits out, as the network returns them. ``outputs`` holds their names.

    Raises:
        AusamError: for a network that was never calibrated, for a layer that is not quantized, for
            an operation that has no integer form, for a sum that fits no accumulator; by name.
    """
    network.check_steps()
    return _lowered(network, input_shape)


@torch.no_grad()
def check_deployable(
    network: QuantizedNetwork, input_shape: tuple[int, int, int] | None = None
) -> None:
    """Refuse a network that :func:`lower` would refuse, before it is trained or calibrated.

    Raises:
        AusamError: as :func:`lower`, but for its steps.
    """
    _lowered(network, input_shape)


def _lowered(network: QuantizedNetwork, input_shape: tuple[int, int, int] | None) -> fx.GraphModule:
    input_shape = input_shape or network.input_shape
    if input_shape is None:
        raise AusamError(
            "the integer network holds the sizes of its tensors, and this network has not seen an "
            "image yet; give the shape of one, (channels, height, width), or calibrate"
        )
    _check_finite(network)
    if any(parameter.itemsize < 4 for parameter in network.parameters()):
        network = copy.deepcopy(network).float()  # in bf16 a bias would be rounded once more
    with in_mode(network, False), network.quantized_weights():
        return Lowering(network, Shapes(network, tuple(input_shape))).run()


def _check_finite(network: QuantizedNetwork) -> None:
    for name, module in network.body.named_modules():
        if not isinstance(module, (nn.Conv2d, nn.Linear, _BatchNorm)):
            continue
        for kind, value in {**module._parameters, **module._buffers}.items():
            if value is not None and not value.isfinite().all():
                raise AusamError(
                    f"layer {name} has a {kind} that is not finite, as after a run that diverged; "
                    "take an earlier checkpoint, or train again with a lower learning rate"
                )


class Lowering(IntegerGraph):
    """Builds the integer graph; the rules write into it."""

    def run(self) -> fx.GraphModule:
        """The integer network."""
        for node in self.body.graph.nodes:
            if node.op == "placeholder":
                images = self._graph.placeholder("images")
                self._done[node] = self._graph.call_method("double", (images,))
            elif node.op != "output" and node not in self._done and self.shapes.is_tensor(node):
                self._done[node] = self._convert(node)
        outputs = output_nodes(self.body)
        for name, node in outputs.items():
            if not self.shapes.is_tensor(node):
                raise AusamError(
                    f"the output {name} ({node.name}) is no tensor; return tensors alone, each "
                    "part of a chunk or split by itself"
                )
        reals = [
            self._graph.call_method("float", (self.tensor(node),)) for node in outputs.values()
        ]
        (returned,) = next(n for n in reversed(self.body.graph.nodes) if n.op == "output").args
        if isinstance(returned, dict):
            self._graph.output(dict(zip(returned, reals, strict=True)))
        else:
            self._graph.output(reals[0] if isinstance(returned, fx.Node) else tuple(reals))
        deployed = fx.GraphModule(self._modules, self._graph, "IntegerNetwork")
        deployed.outputs = list(outputs)
        return deployed.to(self.device).eval()

    def _convert(self, node: fx.Node) -> fx.Node:
        module = self.body.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(module, ActivationQuantizer):
            step = module.step.float().clamp(min=FLOOR)
            return self.add(node.target, ToCodes(step, module.grid), self.tensor(node.args[0]))
        if isinstance(module, (QuantConv2d, QuantLinear)):
            return self._layer(node, module)
        if isinstance(module, _BatchNorm):
            rescale = Rescale(*affine_of(module, module.bias))
            return self.add(f"{node.target}.rescale", rescale, self.tensor(input_of(node)))
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            raise AusamError(
                f"layer {node.target} is in floating point and has no integer form; train with "
                'first_last=8 or "same"'
            )
        call = call_of(self.body, node)
        if call.operation not in RULES:
            raise AusamError(no_integer_form(node.target, node.name))
        return RULES[call.operation](self, node, **call.arguments)

    def _layer(self, node: fx.Node, layer: QuantConv2d | QuantLinear) -> fx.Node:
        """A layer and, where it is the only reader, the BatchNorm behind it."""
        source = input_of(node)
        quantizer = self.body.get_submodule(source.target)
        conv = None
        if isinstance(layer, QuantConv2d):
            settings = ("stride", "padding", "dilation", "groups")
            conv = {name: getattr(layer, name) for name in settings}
        sums = Accumulate(layer.codes(), layer.grid, quantizer.grid, conv)
        if sums.bound > INT32_EXACT:
            raise AusamError(
                f"the sums of layer {node.target} may reach {sums.bound}, which no accumulator "
                "holds exactly; use fewer bits there"
            )
        norm = self._norm_behind(node, conv is not None)
        module = None if norm is None else self.body.get_submodule(norm.target)
        multiplier, offset = affine_map(layer, quantizer, module)
        rescale = Rescale(multiplier, offset, behind_sums=True, axis=-1 if conv is None else 1)
        result = self.add(f"{node.target}.accumulate", sums, self.codes(source))
        result = self.add(f"{node.target}.rescale", rescale, result)
        if norm is not None:
            self._done[norm] = result
        return result

    def _norm_behind(self, node: fx.Node, is_conv: bool) -> fx.Node | None:
        """The BatchNorm that alone reads a layer and has the same channels."""
        (reader, *others) = list(node.users) or [None]
        if reader is None or others or reader.op != "call_module":
            return None
        is_norm = isinstance(self.body.get_submodule(reader.target), _BatchNorm)
        # behind a linear layer over more than features, BatchNorm counts another dimension
        return reader if is_norm and (is_conv or len(self.shapes.of(node)) == 1) else None
