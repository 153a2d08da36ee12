"""Remove attention heads: their rows of the query, key and value, and their columns of the output projection.

Every layer keeps the same number, max(1, round(keep · H)): uneven heads lose half of the speed. Heads that share a key
and a value go together, as one group. Where all layers read one table of positions with a column a head (T5), the same
heads stay in each. Which ones:

- `taylor`: the highest Σ_x |a_h · ∂L/∂a_h| over the texts x of the calibration batches, a_h the head's output.
- `l2`: the highest norm of the output projection's columns. Needs no data.

The heads go in `rounds` equal rounds, with importance measured anew in between, since a head matters more once its
double is gone (`l2` does not change between rounds). One round is the default: on a fine-tuned MiniLM four took four
times as long and gained at most 0.002 of accuracy, at half and at a quarter of the heads.

Michel et al. 2019, "Are Sixteen Heads Really Better than One?", arXiv:1905.10650. Departures: the paper ranks heads
over the whole model and masks them; here the count is equal in every layer and the weights are cut out.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.methods.importance import Importance, rounds_from, score
from autocompress.models.cutting import cut_heads, recount_heads
from autocompress.models.families.anatomy import Attention, Stack, anatomy
from autocompress.models.surgery import best, features, product
from autocompress.space.distributions import Neutral, Range
from autocompress.space.method import Gain, Method, Stage


class Heads(Method):
    """Pays where attention is a large part of the time: long texts, narrow feed-forwards. Half the heads go cheaply."""

    stage: ClassVar[Stage] = "structure"
    pays: ClassVar[tuple[Gain, ...]] = ("latency", "bytes")

    keep: Annotated[float, Field(gt=0, lt=1), Range(0.25, 0.84), Neutral(1)] = 0.5
    importance: Importance = "taylor"
    rounds: Annotated[int, Field(ge=1)] = 1

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        found = anatomy(model)
        attentions = found.attentions
        units = min(attention.units for attention in attentions)
        target = max(1, round(self.keep * units))
        if target == units:
            what = "heads" if all(a.units == a.heads for a in attentions) else "groups of heads"
            raise NotApplicable(f"keep={self.keep:g} of {units} {what} removes none")
        outs = [product(model, attention.o) for attention in attentions]
        sizes = [features(out)[0] // attention.units for out, attention in zip(outs, attentions, strict=True)]
        for count in rounds_from(units, target, self.rounds):
            scores = dict(zip(attentions, score(self.importance, model, outs, ctx, sizes), strict=True))
            for stack in found.stacks:
                cut_stack(model, stack, scores, count)
            found = anatomy(model)
            attentions = found.attentions
        recount_heads(model)
        return model


def cut_stack(model: nn.Module, stack: Stack, scores: dict[Attention, Tensor], count: int) -> None:
    """Keep the `count` best heads (or groups) of each attention; the same in every block if they read one table."""
    own = [block.attentions[0] for block in stack.blocks]
    if stack.position_table:
        together = torch.stack([scores[attention] for attention in own]).sum(0)
        scores = scores | dict.fromkeys(own, together)
        table: Any = model.get_submodule(stack.position_table)
        table.weight = nn.Parameter(table.weight.detach()[:, best(together, count)].clone())
        table.embedding_dim = count
    for block in stack.blocks:
        for attention in block.attentions:
            cut_heads(model, attention, best(scores[attention], count))
