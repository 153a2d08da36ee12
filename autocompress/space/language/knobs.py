"""A knob's form in YAML: a mapping `{low, high, step, log}` is a range, a list is a choice, anything else is fixed.

Of a knob that holds a list (the teachers of an `ensemble`) a list is its one value.
"""

from __future__ import annotations

import math
from typing import Any

from autocompress.errors import ConfigError, nearest
from autocompress.space.distributions import Choice, Distribution, Fixed, Range, Suggest
from autocompress.space.method import Method

RANGE = ("low", "high", "step", "log")


def read(method: type[Method], knob: str, form: Any) -> Distribution:
    """What `form` lets this knob be. Every value and both ends of a range are held against the knob's own type."""
    match form:
        case dict():
            return _range(method, knob, form)
        case list() if not method.holds_list(knob):
            return _choice(method, knob, form)
        case _:
            return Fixed(value(method, knob, form))


def value(method: type[Method], knob: str, given: Any) -> Any:
    """`given` as the knob holds it."""
    if isinstance(given, dict | list) and not (isinstance(given, list) and method.holds_list(knob)):
        raise ConfigError(f"{method.name}.{knob} should be one value here. Got {given!r}.")
    checked = method.check(knob, given)
    # pydantic would take `true` for 1, and infinity for a number above 0.
    if isinstance(given, bool) and not isinstance(checked, bool):
        raise ConfigError(f"{method.name}.{knob} should be a number, not yes or no. Got {given!r}.")
    if isinstance(checked, float) and not math.isfinite(checked):
        raise ConfigError(f"{method.name}.{knob} should be a finite number. Got {given!r}.")
    return checked


def form(distribution: Distribution) -> Any:
    """The inverse of `read`."""
    match distribution:
        case Fixed():
            return list(distribution.value) if isinstance(distribution.value, tuple) else distribution.value
        case Choice():
            return list(distribution.values)
        case Range(low, high, step, log):
            return {"low": low, "high": high} | ({"step": step} if step else {}) | ({"log": True} if log else {})


def sampled(distribution: Distribution, name: str, trial: Suggest) -> Any:
    """One legal value. On a grid of floats it is the grid's own: 0.3, not 0.30000000000000004."""
    drawn = distribution.sample(name, trial)
    return _snapped(drawn) if isinstance(drawn, float) and _stepped(distribution) else drawn


def holds(distribution: Distribution, asked: Any) -> bool:
    """Whether `asked` can be sampled."""
    match distribution:
        case Range(low, high, step):
            steps = (asked - low) / (step or 1)
            return bool(low <= asked <= high) and (not _stepped(distribution) or abs(steps - round(steps)) < 1e-8)
        case _:
            return asked in distribution.extremes


def closest(distribution: Distribution, wish: Any) -> Any:
    """`wish` where it is legal, else the legal value nearest to it; of a choice the first."""
    if holds(distribution, wish):
        return wish
    match distribution:
        case Range(low, high, step):
            inside = min(max(wish, low), high)
            return _snapped(low + round((inside - low) / step) * step) if step else inside
        case _:
            return distribution.extremes[0]


def values(distribution: Distribution) -> list[Any] | None:
    """Every legal value, or None where there is no end of them."""
    match distribution:
        case Range(low, high, step) if not _stepped(distribution):
            return None
        case Range(low, high, step):
            width = step or 1
            return [_snapped(low + i * width) for i in range(round((high - low) / width) + 1)]
        case _:
            return list(distribution.extremes)


def _choice(method: type[Method], knob: str, given: list[Any]) -> Choice:
    checked = tuple(value(method, knob, one) for one in given)
    if not checked:
        raise ConfigError(f"{method.name}.{knob}: a choice needs at least one value. Got [].")
    for i, one in enumerate(checked):
        if one in checked[:i]:
            raise ConfigError(f"{method.name}.{knob}: {one!r} stands twice in the choice. Got {given!r}.")
    return Choice(checked)


def _range(method: type[Method], knob: str, given: dict[str, Any]) -> Range:
    where = f"{method.name}.{knob}"
    for key in given:
        if key not in RANGE:
            raise ConfigError(f"{where}: a range has no {key!r}. {nearest(key, RANGE, otherwise='It has')}")
    if not {"low", "high"} <= given.keys():
        raise ConfigError(f"{where}: a range needs both low and high. Got {given!r}.")
    low, high = value(method, knob, given["low"]), value(method, knob, given["high"])
    if isinstance(low, bool | str) or not isinstance(low, int | float) or not isinstance(high, int | float):
        raise ConfigError(f"{where} is not a number, so it has no range. Give a list of choices. Got {given!r}.")
    if not isinstance(log := given.get("log", False), bool):
        raise ConfigError(f"{where}: log should be true or false. Got {log!r}.")
    step = _step(where, low, high, given.get("step"))
    try:
        return Range(low, high, step, log)
    except ValueError as e:
        raise ConfigError(f"{where}: {e}") from None


def _step(where: str, low: float, high: float, given: Any) -> float | None:
    """The range's step: above 0, whole for whole numbers, and one that reaches `high`."""
    if given is None:
        return None
    whole = isinstance(low, int)
    try:
        step = float(given)
    except (TypeError, ValueError):
        step = math.nan
    if isinstance(given, bool) or not 0 < step < math.inf or (whole and step % 1):
        raise ConfigError(f"{where}: step should be a {'whole ' if whole else ''}number above 0. Got {given!r}.")
    if low < high and abs((high - low) / step - round((high - low) / step)) > 1e-8:
        raise ConfigError(f"{where}: no number of steps leads from low to high. Got {low=}, {high=}, step={given}.")
    return int(step) if whole else step


def _stepped(distribution: Distribution) -> bool:
    """Whether only a grid of values is legal."""
    return isinstance(distribution, Range) and (distribution.step is not None or isinstance(distribution.low, int))


def _snapped(number: float) -> float:
    return number if isinstance(number, int) else float(f"{number:.12g}")
