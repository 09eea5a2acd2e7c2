"""A function whose arguments follow the mode of the network, as a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class InTraining(nn.Module):
    """A function with one tensor, whose other arguments depend on the mode of the network.

    Args:
        function: what is called.
        training, evaluation: its arguments behind the tensor in either mode, positional and by
            name.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        training: tuple[tuple, dict],
        evaluation: tuple[tuple, dict],
    ) -> None:
        super().__init__()
        self.function, self.arguments = function, {True: training, False: evaluation}

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        args, kwargs = self.arguments[self.training]
        return self.function(inputs, *args, **kwargs)

    @property
    def inplace(self) -> bool:
        """Whether the tensor is changed in place, as in the modules of torch."""
        return any(by_name.get("inplace") is True for _, by_name in self.arguments.values())

    @inplace.setter
    def inplace(self, value: bool) -> None:
        self.arguments = {
            mode: (args, {**by_name, "inplace": value})
            for mode, (args, by_name) in self.arguments.items()
        }

    def is_off_in_evaluation(self) -> bool:
        """Whether evaluation passes everything on as it is, tried with numbers."""
        args, kwargs = self.arguments[False]
        sample = torch.linspace(-3, 3, 128).view(2, 4, 4, 4)
        return torch.equal(self.function(sample.clone(), *args, **kwargs), sample)
