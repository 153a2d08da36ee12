"""Recipes worth trying before any sampled one: the combinations that usually pay, then each method alone.

What usually pays is said by families, in the order that the literature agrees on: smaller shapes, then fine-tuning with
distillation, precision last. No method is named here, so a new one takes part by existing.

In benchmarks/ (10 seeds) they neither help nor harm in the end by more than the noise: .901 [.885, .919] of the true
front's hypervolume with, .898 [.886, .911] without, on the formula; .902 [.868, .933] and .939 [.916, .958] on the
table of real trainings, where they cost the first ten trials. They are on because every method offered is then seen
once. Those that break a limit on size or latency are refused and cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

from autocompress.space.distributions import Choice, Distribution, Fixed, Range
from autocompress.space.language import knobs
from autocompress.space.language.orders import MOST, Order
from autocompress.space.language.steps import orders
from autocompress.space.method import find
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace

USUAL = (
    ("pruning", "distillation", "training", "quantization"),
    ("decomposition", "distillation", "training", "quantization"),
    ("sharing", "distillation", "training", "quantization"),
    ("attention", "distillation", "training", "quantization"),
)


def tried_first(space: SearchSpace) -> tuple[Recipe, ...]:
    """The space's own anchors, then the built-in ones unless it has them switched off."""
    return space.anchors + (built_in(space) if space.search.built_in_anchors else ())


def built_in(space: SearchSpace) -> tuple[Recipe, ...]:
    """Every usual combination, once for each method that it may begin with; then each method alone.

    Where the space does not admit just that, the shortest recipe that holds it stands for it.
    """
    found: dict[tuple[int, str], Recipe] = {}
    for order in sorted(islice(orders(space.steps), MOST), key=len):
        missing = [role for role in _roles(order) if role not in found]
        if missing and (recipe := _at_middle(order)).fault() is None:
            found |= dict.fromkeys(missing, recipe)
    by_rank = sorted(found, key=lambda role: role[0])
    return tuple(dict.fromkeys(found[role] for role in by_rank))


def _roles(order: Order) -> Iterator[tuple[int, str]]:
    """What this order could stand for, as a rank and a method: a combination that begins with it, or it alone."""
    families = [find(method.name).family for method in order]
    for rank, usual in enumerate(USUAL):
        rest = iter(families)
        if families[:1] == [usual[0]] and all(family in rest for family in usual):
            yield rank, order[0].name
    yield from ((len(USUAL), method.name) for method in order)


def _at_middle(order: Order) -> Recipe:
    """These methods, every knob at its middle."""
    return Recipe(
        find(m.name)(**{k: middle(d, find(m.name).model_fields[k].default) for k, d in m.knobs.items()}) for m in order
    )


def middle(distribution: Distribution, default: Any) -> Any:
    """The default where it may be had, else the middle of what may be: of a log range, the middle of the logarithm."""
    match distribution:
        case _ if knobs.holds(distribution, default):
            return default
        case Range(low, high, _, log):
            centre = math.sqrt(low * high) if log else (low + high) / 2
            return knobs.closest(distribution, round(centre) if isinstance(low, int) else centre)
        case Choice(values):
            return values[len(values) // 2]
        case Fixed(value):
            return value
