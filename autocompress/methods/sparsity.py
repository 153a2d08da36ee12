"""Which weights are set to zero."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.models.families.places import stacked
from autocompress.models.surgery import products, weight_OI

Scope = Literal["global", "layer"]


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """The products in the model's layers, by path: neither embeddings nor heads. `NotApplicable` if there are none."""
    inside = stacked(model)
    found = {path: layer for path, layer in products(model).items() if path in inside}
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
