"""Recipes in a short form that tells each from its neighbours: only what differs among the rows of a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from autocompress.report.tables import gist, step_name, value_text
from autocompress.report.terminal.sheet import JOIN, Parts
from autocompress.space.recipe import Recipe

Knob = tuple[int, str]  # by the step's place in the recipe and its own name


def short_recipes(recipes: Sequence[Recipe], *, whole: bool = False) -> tuple[list[Parts], str]:
    """Each in its parts, and the steps that all of them share, which the parts leave out unless they are `whole`.

    Those that would read alike have the fewest knobs more that tell them apart: `neurons 0.5 + lr=0.0031`.
    """
    steps = [_steps_of(recipe) for recipe in recipes]
    shared = [] if whole else _shared(steps)
    alike: dict[Parts, list[int]] = defaultdict(list)
    for row, own in enumerate(steps):
        alike[own].append(row)
    found: list[Parts] = [()] * len(recipes)
    for rows in alike.values():
        knobs = _telling([recipes[row] for row in rows])
        for row in rows:
            found[row] = _parts(recipes[row], knobs, shared) or tuple(shared) or ("nothing",)
    return found, JOIN.join(shared)


def _steps_of(recipe: Recipe) -> Parts:
    """A recipe by itself: its steps, and how much they keep or what they make."""
    return tuple(step_name(method) for method in recipe)


def _shared(recipes: Sequence[Parts]) -> list[str]:
    """The steps that every recipe has, recipes of none at all apart."""
    some = [recipe for recipe in recipes if recipe]
    common = set.intersection(*map(set, some)) if len(some) > 1 else set()
    return [step for step in some[0] if step in common] if common else []


def _parts(recipe: Recipe, knobs: Sequence[Knob], shared: Sequence[str]) -> Parts:
    parts = []
    for place, method in enumerate(recipe):
        names = [name for at, name in knobs if at == place]
        plain, knob = step_name(method), gist(method)
        step = step_name(method, exact=knob in names)
        more = [f"{name}={value_text(dict(method)[name])}" for name in names if name != knob]
        if plain not in shared or knob in names:
            parts.append(" ".join([step, *more]))
        elif more:
            twice = [each for each in recipe if any(name in dict(each) for name in names)]
            parts.append(" ".join([step, *more] if len(twice) > 1 else more))
    return tuple(parts)


def _telling(recipes: Sequence[Recipe]) -> list[Knob]:
    """As few knobs as tell recipes of the same steps apart, as far as that can be."""
    told: dict[Knob, list[str]] = defaultdict(list)
    for recipe in recipes:
        for place, method in enumerate(recipe):
            for name, value in method:
                told[place, name].append(value_text(value))
    differing = {knob: values for knob, values in told.items() if len(set(values)) > 1}
    chosen: list[Knob] = []
    seen, apart = [""] * len(recipes), 1
    while differing:
        best = max(differing, key=lambda knob: len(set(zip(seen, differing[knob], strict=True))))
        seen = [f"{before} {value}" for before, value in zip(seen, differing.pop(best), strict=True)]
        if len(set(seen)) == apart:
            break
        apart = len(set(seen))
        chosen.append(best)
        if apart == len(recipes):
            break
    return sorted(chosen)
