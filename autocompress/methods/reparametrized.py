"""A product whose weight is read through something while it is trained, and stands by itself again afterwards."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize


class Reparametrized:
    """`change` makes of the stored weight the one that is used; its own parameters are trained along."""

    def __init__(self, layer: nn.Module, change: nn.Module) -> None:
        self.layer, self.change = layer, change
        parametrize.register_parametrization(layer, "weight", change, unsafe=True)

    def settle(self) -> None:
        """Leave the layer as it was, with the weight that was used: by all that stood between, if it was several.

        Not by torch's `remove_parametrizations`: it takes `weight` from a class that a copy shares with its original.
        """
        layer: Any = self.layer
        if not hasattr(layer, "parametrizations"):
            return
        weight = layer.parametrizations.weight.original
        with torch.no_grad():
            weight.set_(layer.weight.contiguous())
        del layer.parametrizations
        layer.__class__ = type(layer).__bases__[0]
        others = dict(layer._parameters)
        layer._parameters.clear()  # the weight comes first again, as in a layer that was never touched
        layer.weight = weight.requires_grad_(True)
        layer._parameters.update(others)
