"""The orders of methods that a space admits: which of them can work, and how many recipes they make."""

from __future__ import annotations

from functools import cache
from itertools import islice
from math import prod
from typing import Any

from autocompress.space.language import knobs
from autocompress.space.language.steps import OpenMethod, Step, orders
from autocompress.space.method import find
from autocompress.space.recipe import Recipe

Order = tuple[OpenMethod, ...]

MOST = 50_000  # orders that are looked at, about a second; a space with more is left to the search to find out


def impossible(steps: tuple[Step, ...]) -> list[tuple[OpenMethod, str]]:
    """The methods that stand in no order that can work, and why: of those at fault alike the one that is named."""
    every = _orders(steps) or []
    faults = {id(order): _fault(tuple(method.name for method in order)) for order in every}
    usable = {id(method) for order in every if faults[id(order)] is None for method in order}
    found: dict[str, OpenMethod] = {}
    for order in sorted(every, key=len):  # the shortest order that holds a method has the fewest other faults
        for method in order:
            fault = faults[id(order)]
            if fault and id(method) not in usable:
                usable.add(id(method))
                if fault not in found or fault.split()[0] == method.name:
                    found[fault] = method
    return [(method, fault) for fault, method in found.items()]


def size(steps: tuple[Step, ...]) -> int | None:
    """How many different recipes can be sampled and work. None: no end of them, or of orders too many to count."""
    every = _orders(steps)
    if every is None:
        return None
    boxes: dict[tuple[str, ...], list[list[list[Any]]]] = {}
    for order in every:
        names = tuple(method.name for method in order)
        if _fault(names) is None:
            sides = [knobs.values(knob) for method in order for knob in method.knobs.values()]
            whole = [side for side in sides if side is not None]
            if len(whole) < len(sides):
                return None
            boxes.setdefault(names, []).append(whole)
    return sum(_union(alike) for alike in boxes.values())


def _union(boxes: list[list[list[Any]]]) -> int:
    """How many points lie in at least one box; a box is a list of values for every dimension.

    Two ways through a space can give the same methods with overlapping knobs, and the same recipe counts once. Values
    of the first dimension that lie in the same boxes are alike, so each such group multiplies what the rest gives.
    """
    if len(boxes) == 1 or not boxes[0]:
        return prod(map(len, boxes[0]))
    inside: dict[Any, tuple[int, ...]] = {}
    for i, box in enumerate(boxes):
        for value in box[0]:
            inside[value] = (*inside.get(value, ()), i)
    groups = list(inside.values())
    return sum(groups.count(group) * _union([boxes[i][1:] for i in group]) for group in set(groups))


def _orders(steps: tuple[Step, ...]) -> list[Order] | None:
    """Every order of methods, or None where there are too many."""
    found = list(islice(orders(steps), MOST + 1))
    return found if len(found) <= MOST else None


@cache
def _fault(names: tuple[str, ...]) -> str | None:
    """Order is a matter of methods, never of their knobs."""
    return Recipe(find(name)() for name in names).fault()
