"""Turn a trained quantized network into an integer one, node by node.

BatchNorm goes into the affine map behind its convolution, never into the codes. What is between the
layers (ReLU, sums of residual blocks, pooling) stays in fp64.
"""

from __future__ import annotations

import operator

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ausam_core.errors import AusamError
from tasks.qat.deploy.integer import INT32_EXACT, Accumulate, OrderedMean, Rescale, ToCodes
from tasks.qat.layers import ActivationQuantizer, QuantConv2d, QuantLinear
from tasks.qat.network import QuantizedNetwork
from tasks.qat.steps import FLOOR

_RELU = (F.relu, torch.relu, "relu", "relu_")
_PASSES = (nn.Identity, nn.Dropout)
_ADDS = (operator.add, operator.iadd, torch.add)


@torch.no_grad()
def lower(network: QuantizedNetwork) -> fx.GraphModule:
    """The integer form of a network in evaluation mode.

    Args:
        network: trained and calibrated; it is not changed.

    Returns:
        A graph of :mod:`tasks.qat.deploy.integer` and elementary modules: fp32 images in, fp32
        logits out.

    Raises:
        AusamError: for a network that was never calibrated, for a layer that is not quantized, for
            an operation that has no integer form, for a sum that fits no accumulator; by name.
    """
    network.check_steps()
    return _Lowering(network).run()


class _Lowering:
    def __init__(self, network: QuantizedNetwork) -> None:
        self.body = network.body
        self.graph, self.modules = fx.Graph(), {}
        self.done: dict[fx.Node, fx.Node] = {}
        self.folded: set[fx.Node] = set()

    def run(self) -> fx.GraphModule:
        for node in self.body.graph.nodes:
            if node in self.folded:
                continue
            if node.op == "placeholder":
                self.done[node] = self.graph.placeholder("images")
            elif node.op == "output":
                self.graph.output(self.graph.call_method("float", (self.done[node.args[0]],)))
            else:
                self.done[node] = self.convert(node)
        deployed = fx.GraphModule(self.modules, self.graph, "IntegerNetwork")
        return deployed.eval()

    def convert(self, node: fx.Node) -> fx.Node:
        inputs = [self.done[a] for a in node.args if isinstance(a, fx.Node)]
        module = self.body.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(module, ActivationQuantizer):
            step = module.step.clamp(min=FLOOR)
            return self.add(node.target, ToCodes(step, module.grid), inputs)
        if isinstance(module, (QuantConv2d, QuantLinear)):
            return self.layer(node, module, inputs)
        if isinstance(module, _BatchNorm):
            return self.add(f"{node.target}.rescale", Rescale(*_affine(module)), inputs)
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            raise AusamError(
                f"layer {node.target} is in floating point and has no integer form; train with "
                'first_last=8 or "same"'
            )
        if isinstance(module, _PASSES) or node.target is F.dropout:
            return inputs[0]
        if isinstance(module, nn.ReLU) or node.target in _RELU:
            return self.add(node.name, nn.ReLU(), inputs)
        if node.target in _ADDS and len(inputs) == 2:
            return self.graph.call_function(operator.add, tuple(inputs))
        return self.shape_or_pool(node, module, inputs)

    def shape_or_pool(
        self, node: fx.Node, module: nn.Module | None, inputs: list[fx.Node]
    ) -> fx.Node:
        rest = (*node.args[1:], *node.kwargs.values())
        if isinstance(module, nn.Flatten) and module.start_dim == 1:
            return self.add(node.name, nn.Flatten(), inputs)
        if node.target in (torch.flatten, "flatten") and rest == (1,):
            return self.add(node.name, nn.Flatten(), inputs)
        if isinstance(module, nn.MaxPool2d) and not module.ceil_mode:
            pool = nn.MaxPool2d(module.kernel_size, module.stride, module.padding, module.dilation)
            return self.add(node.name, pool, inputs)
        if isinstance(module, nn.AdaptiveAvgPool2d):
            rest = (module.output_size,)
        pools = isinstance(module, nn.AdaptiveAvgPool2d) or node.target is F.adaptive_avg_pool2d
        if pools and rest in ((1,), ((1, 1),)):
            return self.add(node.name, OrderedMean(), inputs)
        if node.target in (torch.mean, "mean") and rest in (((2, 3),), ([2, 3],), ((-2, -1),)):
            mean = self.add(node.name, OrderedMean(), inputs)
            return self.add(f"{node.name}_flat", nn.Flatten(), [mean])
        what = node.target if module is None else type(module).__name__
        what = getattr(what, "__name__", what)
        raise AusamError(f"the operation {what} (at {node.name}) has no integer form")

    def layer(
        self, node: fx.Node, layer: QuantConv2d | QuantLinear, inputs: list[fx.Node]
    ) -> fx.Node:
        """A layer and, where it is the only reader, the BatchNorm behind it."""
        quantizer = self.body.get_submodule(node.args[0].target)
        conv = None
        if isinstance(layer, QuantConv2d):
            settings = ("stride", "padding", "dilation", "groups")
            conv = {name: getattr(layer, name) for name in settings}
        sums = Accumulate(layer.codes(), layer.grid, quantizer.grid, conv)
        if sums.bound > INT32_EXACT or (sums.wide and conv and quantizer.grid.signed):
            raise AusamError(
                f"the sums of layer {node.target} may reach {sums.bound}, which no accumulator "
                "holds exactly; use fewer bits there"
            )
        unit = quantizer.step.double() * layer.step.double().clamp(min=FLOOR)
        unit = unit.expand(len(layer.weight)).clone()
        offset = torch.zeros_like(unit) if layer.bias is None else layer.bias.double()
        multiplier = unit
        readers = list(node.users)
        last = node
        if len(readers) == 1 and readers[0].op == "call_module":
            norm = self.body.get_submodule(readers[0].target)
            if isinstance(norm, _BatchNorm):
                scale, shift = _affine(norm)
                multiplier, offset = unit * scale, offset * scale + shift
                last = readers[0]
        accumulator = self.add(f"{node.target}.accumulate", sums, inputs)
        rescale = Rescale(multiplier, offset, unit)
        result = self.add(f"{node.target}.rescale", rescale, [accumulator])
        if last is not node:
            self.folded.add(last)
            self.done[last] = result
        return result

    def add(self, name: str, module: nn.Module, inputs: list[fx.Node]) -> fx.Node:
        self.modules[name] = module
        return self.graph.call_module(name, tuple(inputs))


def _affine(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """BatchNorm in evaluation as ``x · scale + shift``, fp64."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return scale, shift + norm.bias.double() if norm.affine else shift
