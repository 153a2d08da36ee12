"""Which weights a pruning sets to zero, and that they stay zero through every training that follows."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.models.families.places import stacked
from autocompress.models.forward import moved
from autocompress.models.surgery import plain_products, products, weight_OI

Scope = Literal["global", "layer"]
_FEW = 0.01  # a matrix that has fewer zeros than this share has them by chance


def layers_of(model: nn.Module, *, plain: bool = False) -> dict[str, nn.Module]:
    """The products in the model's layers, by path: neither embeddings nor heads. `NotApplicable` if there are none.

    `plain`: without those that are factors of a larger one, which is not factored again.
    """
    inside = stacked(model)
    every = plain_products(model) if plain else products(model)
    found = {path: layer for path, layer in every.items() if path in inside}
    if not found:
        raise NotApplicable("this model has no matrices in layers that follow each other")
    return found


@torch.no_grad()
def prune(model: nn.Module, sparsity: float, scope: Scope) -> None:
    """Set the smallest weights to zero: that share of each matrix, or of all together."""
    weights = [weight_OI(layer) for layer in layers_of(model).values()]
    least = quantile(torch.cat([W.abs().flatten() for W in weights]), sparsity) if scope == "global" else None
    for W_OI in weights:
        W_OI.mul_((W_OI.abs() > (quantile(W_OI.abs(), sparsity) if least is None else least)).to(W_OI.dtype))


def quantile(values: Tensor, share: float) -> Tensor:
    """The largest of the smallest `share` of the values; -1 if that is none."""
    count = int(share * values.numel())
    return values.flatten().kthvalue(count).values if count else values.new_tensor(-1.0)


def most_in_each(scores_OI: Tensor, kept: int, group: int) -> Tensor:
    """1 for the `kept` highest scores of every `group` adjacent ones of a row, else 0; a row's rest stays."""
    O, I = scores_OI.shape
    whole = I // group * group
    groups = scores_OI[:, :whole].reshape(O, -1, group)
    order = groups.argsort(dim=-1, descending=True, stable=True).argsort(-1)
    mask = torch.ones_like(scores_OI)
    mask[:, :whole] = (order < kept).to(scores_OI.dtype).reshape(O, whole)
    return mask


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
