"""Remove attention heads: their rows of the query, key and value, and their columns of the output projection.

Every layer keeps the same number, max(1, round(keep · H)): uneven heads lose half of the speed. Which ones:

- `taylor`: the highest Σ_x |a_h · ∂L/∂a_h| over the texts x of the calibration batches, a_h the head's output.
- `l2`: the highest norm of the output projection's columns. Needs no data.

The heads go in `rounds` equal rounds, with importance measured anew in between, since a head matters more once its
double is gone (`l2` does not change between rounds). One round is the default: on a fine-tuned MiniLM four took four
times as long and gained at most 0.002 of accuracy, at half and at a quarter of the heads.

Michel et al. 2019, "Are Sixteen Heads Really Better than One?", arXiv:1905.10650. Departures: the paper ranks heads
over the whole model and masks them; here the count is equal in every layer and the weights are cut out.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.architectures import Layer, layout, recount_heads
from autocompress.context import Context
from autocompress.distributions import Range
from autocompress.errors import NotApplicable
from autocompress.importance import Importance, rounds_from, score
from autocompress.method import Method, Stage
from autocompress.surgery import best, keep_inputs, keep_outputs, linear


class Heads(Method):
    """Pays where attention is a large part of the time: long texts, narrow feed-forwards. Half the heads go cheaply."""

    stage: ClassVar[Stage] = "structure"

    keep: Annotated[float, Field(gt=0, lt=1), Range(0.25, 0.84)] = 0.5
    importance: Importance = "taylor"
    rounds: Annotated[int, Field(ge=1)] = 1

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        found = layout(model)
        heads = min(linear(model, layer.query).out_features for layer in found.layers) // found.head_size
        target = max(1, round(self.keep * heads))
        if target == heads:
            raise NotApplicable(f"keep={self.keep:g} of {heads} heads removes none")
        outs = [linear(model, layer.out) for layer in found.layers]
        for count in rounds_from(heads, target, self.rounds):
            scores = score(self.importance, model, outs, ctx, group=found.head_size)
            for layer, score_H in zip(found.layers, scores, strict=True):
                keep_heads(model, layer, best(score_H, count), found.head_size)
        recount_heads(model)
        return model


def keep_heads(model: nn.Module, layer: Layer, heads: Tensor, head_size: int) -> None:
    """Cut every head out of `layer` that is not in `heads`."""
    units = (heads[:, None] * head_size + torch.arange(head_size)).flatten()
    for path in (layer.query, layer.key, layer.value):
        keep_outputs(linear(model, path), units)
    keep_inputs(linear(model, layer.out), units)
