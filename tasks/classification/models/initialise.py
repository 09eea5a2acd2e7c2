"""How the weights of all these networks begin."""

from __future__ import annotations

from torch import nn


def initialise(model: nn.Module) -> None:
    """He et al. (2015) for convolutions, by their fan-out; 1 and 0 for BatchNorm."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
