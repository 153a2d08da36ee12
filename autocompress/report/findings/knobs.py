"""Recipes as one flat table: a column for every method and knob in which they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from autocompress.space.method import Method
from autocompress.space.recipe import Recipe

Value = float | str | bool
Row = dict[str, Value]


def flat(recipe: Recipe) -> Row:
    """`{"layers": True, "layers.keep": 0.5, ...}`; of a method that stands twice, the second is `finetune 2`."""
    row: Row = {}
    for name, method in named(recipe):
        row[name] = True
        row |= {f"{name}.{knob}": _plain(value) for knob, value in method.model_dump(mode="json").items()}
    return row


def named(recipe: Recipe) -> Iterator[tuple[str, Method]]:
    """The steps, each with a name of its own."""
    seen: Counter[str] = Counter()
    for method in recipe:
        seen[method.name] += 1
        count = seen[method.name]
        yield f"{method.name} {count}" if count > 1 else method.name, method


def varied(recipes: Iterable[Recipe]) -> list[Row]:
    """A row for each recipe, of the columns that are not the same in all.

    A method has True or False. What a knob of an absent method would be is left out.
    """
    rows = [flat(recipe) for recipe in recipes]
    columns = dict.fromkeys(name for row in rows for name in row)
    methods = [name for name in columns if "." not in name]
    rows = [dict.fromkeys(methods, False) | row for row in rows]
    kept = [name for name in columns if len({repr(row[name]) for row in rows if name in row}) > 1]
    return [{name: row[name] for name in kept if name in row} for row in rows]


def text(value: Value) -> str:
    """As a search space has it, to three digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _plain(value: object) -> Value:
    if isinstance(value, bool | str):
        return value
    return float(value) if isinstance(value, int | float) else str(value)
