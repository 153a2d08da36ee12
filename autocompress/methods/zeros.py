"""Weights that a pruning has set to zero stay zero through every training that follows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autocompress.models.forward import moved
from autocompress.models.surgery import products

_FEW = 0.01  # a matrix that has fewer zeros than this share has them by chance


class Zeros:
    """Which weights of which matrices are zero."""

    def __init__(self, found: dict[nn.Parameter, Tensor]) -> None:
        self._kept = found  # parameter -> 1 where it is not zero

    @torch.no_grad()
    def keep(self) -> None:
        """Set them to zero again."""
        for parameter, kept in self._kept.items():
            parameter.mul_(moved({"kept": kept}, parameter.device)["kept"])


def zeros(model: nn.Module) -> Zeros:
    """Those of the model's products as they are now."""
    found: dict[nn.Parameter, Tensor] = {}
    for layer in products(model).values():
        weight = original(layer)
        kept = weight.detach() != 0
        if kept.float().mean() < 1 - _FEW:
            found[weight] = kept.to(weight.dtype)
    return Zeros(found)


def original(layer: Any) -> nn.Parameter:
    """The parameter that holds a product's weight, also where it is read through something else."""
    found: nn.Parameter = layer.parametrizations.weight.original if hasattr(layer, "parametrizations") else layer.weight
    return found
