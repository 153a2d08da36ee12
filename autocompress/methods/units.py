"""The heads and neurons of a model that can each be cut alone, layer by layer, in uneven numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.models.cutting import cut_heads, cut_neurons, recount_heads
from autocompress.models.families.anatomy import Attention, FeedForward, anatomy
from autocompress.models.surgery import best, features, product


@dataclass(frozen=True)
class Site:
    """The units of one attention or feed-forward. They are adjacent inputs of the product that leads out of it."""

    part: Attention | FeedForward
    units: int
    least: int  # of them that have to stay, and in steps of so many
    cost: int  # multiply-adds a token that one unit takes

    @property
    def out(self) -> str:
        """The path of the product that reads the units."""
        return self.part.o if isinstance(self.part, Attention) else self.part.down

    @property
    def is_attention(self) -> bool:
        return isinstance(self.part, Attention)


def sites(model: nn.Module, multiple: int = 8) -> list[Site]:
    """Of all layers. Neurons go in multiples; heads of layers that read one table of positions are left out.

    Raises `NotApplicable` where there are none.
    """
    found: list[Site] = []
    for stack in anatomy(model).stacks:
        for block in stack.blocks:
            # what works positions out for all layers has a number of heads, which is then that of every layer
            own = () if stack.position_table else block.attentions
            found += [_of_attention(model, attention) for attention in own]
            found += [_of_ffn(model, ffn, multiple) for ffn in block.ffns]
    found = [site for site in found if site.units > site.least]
    if not found:
        raise NotApplicable(f"a {anatomy(model).kind!r} model has neither heads nor neurons that can be cut")
    return found


def _of_attention(model: nn.Module, attention: Attention) -> Site:
    reads, queries = features(product(model, attention.q.path))[0], attention.heads * attention.head_size
    rows = 2 * queries + 2 * attention.kv_heads * attention.head_size
    return Site(attention, attention.units, 1, reads * rows // attention.units)


def _of_ffn(model: nn.Module, ffn: FeedForward, multiple: int) -> Site:
    neurons, writes = features(product(model, ffn.down))
    reads = features(product(model, ffn.ins[0].path))[0]
    step = multiple if neurons > multiple and not neurons % multiple else 1
    return Site(ffn, neurons, step, reads * len(ffn.ins) + writes)


def cut(model: nn.Module, kept: Mapping[Site, Tensor]) -> nn.Module:
    """Keep those units of each site alone."""
    for site, index in kept.items():
        if len(index) == site.units:
            continue
        if isinstance(site.part, Attention):
            cut_heads(model, site.part, index)
        else:
            cut_neurons(model, site.part, index)
    recount_heads(model)
    return model


def chosen(scores: Mapping[Site, Tensor], keep: float) -> dict[Site, Tensor]:
    """The units with the highest scores for what they cost, over all layers, until `keep` of the cost is spent.

    Every site keeps its least. Of equal scores the first of each layer go first, so that layers are cut alike.
    """
    budget = keep * sum(site.units * site.cost for site in scores)
    steps: list[tuple[float, int, int, Site]] = []
    for number, (site, scores_U) in enumerate(scores.items()):
        ordered = scores_U.sort(descending=True, stable=True).values
        groups = [ordered[i : i + site.least].mean().item() for i in range(0, site.units, site.least)]
        steps += [(-value / site.cost, rank, number, site) for rank, value in enumerate(groups)]
    spent, counts = 0.0, dict.fromkeys(scores, 0)
    for rank_first in (True, False):
        for _, rank, _, site in sorted(steps, key=lambda step: step[:3]):
            size = min(site.least, site.units - counts[site])
            if (rank == 0) == rank_first and (rank == 0 or spent + size * site.cost <= budget):
                spent += size * site.cost
                counts[site] += size
    return {site: best(scores_U, counts[site]) for site, scores_U in scores.items()}


def evenly(found: list[Site], keep: float) -> dict[Site, Tensor]:
    """As many of every site's units: what a rehearsal assumes that nothing is known of."""
    return {site: torch.arange(max(site.least, round(keep * site.units / site.least) * site.least)) for site in found}
