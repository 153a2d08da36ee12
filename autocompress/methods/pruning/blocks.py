"""Choose for every layer how many heads and neurons it keeps: the set that hurts least under a budget.

1. Every attention and every feed-forward has alternatives: all of its units, three quarters, a half, a quarter, the
   least there is (one head, eight neurons). Units go by what the loss says of a mask on each (see `fisher_masks`).
2. Each alternative is scored alone, with the rest of the model whole: by the divergence of the answers to calibration
   texts from those before (arXiv:2411.19146).
3. Its cost is in multiply-adds (`flops`), or in time on this target (`latency`): a model is lowered and timed in which
   all layers have the alternative, and its layers share the difference.
4. The alternatives with the least sum of scores whose costs together are at most `keep` of the whole model's: a
   multiple-choice knapsack, solved exactly (HiGHS).

Bercovich et al. 2024, "Puzzle", arXiv:2411.19146 (blocks distilled one by one before they are scored); latency tables
and structured OBS: Kurtic et al. 2023, "ZipLM", arXiv:2302.04089. Departures: alternatives are not distilled by
themselves, a finetune follows; no part is left out altogether; heads that read one table of positions stay.

A rehearsal takes as many units of every layer.
"""

from __future__ import annotations

import copy
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.methods.context import Context
from autocompress.methods.unit_gradients import unit_gradients
from autocompress.methods.units import Site, cut, evenly, sites
from autocompress.models.forward import forward, moved, placed
from autocompress.models.surgery import best, features, product
from autocompress.space.distributions import Choice, Neutral, Range
from autocompress.space.method import Gain, Method, Stage
from autocompress.tasks.dataset import Batch

_SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)


class Blocks(Method):
    """Uneven layers that fit a budget, without training; for models whose layers differ in worth."""

    stage: ClassVar[Stage] = "structure"
    pays: ClassVar[tuple[Gain, ...]] = ("latency", "bytes")
    estimated: ClassVar[bool] = True
    uses_target: ClassVar[bool] = True

    keep: Annotated[float, Field(gt=0, lt=1), Range(0.3, 0.9), Neutral(1)] = 0.6
    budget: Annotated[Literal["flops", "latency"], Choice(("flops", "latency"))] = "flops"

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        found = sites(model)
        if ctx.train is None:
            return cut(model, evenly(found, self.keep))
        order = {site: g_NU.square().sum(0) for site, g_NU in unit_gradients(model, found, ctx).items()}
        options = {site: [best(order[site], count) for count in counts_of(site)] for site in found}
        scores = {site: hurt(model, site, each, ctx) for site, each in options.items()}
        saved = self._saved(model, options, ctx)
        picked = cheapest(list(scores.values()), list(saved.values()), 1 - self.keep)
        return cut(model, {site: options[site][i] for site, i in zip(found, picked, strict=True)})

    def _saved(self, model: nn.Module, options: dict[Site, list[Tensor]], ctx: Context) -> dict[Site, list[float]]:
        """The share of the whole model's cost that each alternative saves."""
        if self.budget == "flops":
            whole = sum(site.units * site.cost for site in options)
            return {site: [(site.units - len(o)) * site.cost / whole for o in each] for site, each in options.items()}
        full, saved = ctx.cost(model), dict[Site, list[float]]()
        for kind in (True, False):
            alike = {site: each for site, each in options.items() if site.is_attention == kind}
            most = max((len(each) for each in alike.values()), default=0)
            for i in range(most):
                chosen = {site: each[min(i, len(each) - 1)] for site, each in alike.items()}
                part = 1 - ctx.cost(cut(copy.deepcopy(model), chosen)) / full if i else 0.0
                for site in alike:
                    saved.setdefault(site, []).append(max(0.0, part) / len(alike))
        return {site: saved[site][: len(each)] for site, each in options.items()}


def counts_of(site: Site) -> list[int]:
    """How many units each alternative has, from all down to the least."""
    counts = [max(site.least, round(share * site.units / site.least) * site.least) for share in _SHARES]
    return list(dict.fromkeys(counts))


@torch.no_grad()
def hurt(model: nn.Module, site: Site, options: list[Tensor], ctx: Context) -> list[float]:
    """Of each alternative alone: the mean divergence of the answers from those of the whole model."""
    out, scores = product(model, site.out), [0.0] * len(options)
    group, texts = features(out)[0] // site.units, 0
    with placed(model, ctx.device):
        for batch in ctx.calibration:
            whole = answers(model.eval(), batch)
            texts += len(whole)
            for i, index in enumerate(options):
                if len(index) == site.units:
                    continue
                mask = torch.zeros(site.units).index_fill(0, index, 1.0).repeat_interleave(group)
                silenced = _Silenced(moved({"mask": mask}, whole.device)["mask"])
                handle = out.register_forward_pre_hook(silenced)
                try:
                    scores[i] += float(
                        ctx.kind.distil(answers(model, batch), whole, moved(batch, whole.device), 1.0).sum()
                    )
                finally:
                    handle.remove()
    return [score / texts for score in scores]


def answers(model: nn.Module, batch: Batch) -> Tensor:
    return forward(model, batch, frozenset({"logits"})).logits


class _Silenced:
    def __init__(self, mask: Tensor) -> None:
        self._mask = mask

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0] * self._mask, *args[1:])


def cheapest(scores: list[list[float]], saved: list[list[float]], needed: float) -> list[int]:
    """One alternative of each row, of least score together, such that at least `needed` is saved: their numbers.

    Where all cannot save so much: the last of each.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    if sum(row[-1] for row in saved) <= needed:
        return [len(row) - 1 for row in saved]
    costs, gains = np.concatenate(scores), np.concatenate(saved)
    rows = np.zeros((len(scores), len(costs)))
    ends = np.cumsum([len(row) for row in scores])
    for i, end in enumerate(ends):
        rows[i, end - len(scores[i]) : end] = 1
    constraints = [LinearConstraint(rows, 1, 1), LinearConstraint(gains[None], needed, np.inf)]
    found = milp(costs, integrality=np.ones(len(costs)), bounds=Bounds(0, 1), constraints=constraints)
    taken = np.asarray(found.x).round().astype(bool)
    return [int(taken[end - len(scores[i]) : end].argmax()) for i, end in enumerate(ends)]
