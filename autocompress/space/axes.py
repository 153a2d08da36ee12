"""The axes that the recipes of a space are compared on: `layers.keep`, `finetune.lr`, `int8_dynamic`. Only what varies.

An open knob is an axis, by its method's name and its own. Where a recipe may hold a method more than once, the second
is `finetune:2.lr`. A recipe that leaves the method out stands at the knob's neutral value: it keeps 1, its weight is 0.

A `one_of` is an axis too, unless its only option has a knob with a `Neutral` value, which tells whether it is there. It
has the name of its method, of the family that its methods share, or of all: `int8_dynamic`, `pruning`, `heads or lora`.

They are read from a space as it is written down, without loading a method.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

from autocompress.space.distributions import Choice, Distribution, Fixed, Range
from autocompress.space.language.grammar import Grammar, split
from autocompress.space.language.mistakes import Mistakes, Place
from autocompress.space.language.steps import OneOf, OpenMethod, Params, Step, every_method, without
from autocompress.space.method import methods
from autocompress.space.recorded import Traits

Value = float | str | bool
Station = tuple[str, OpenMethod]  # what a method is called where it stands, `finetune:2`, and the method

_NAMED = 3  # methods in the name of a choice


@dataclass(frozen=True)
class Axis:
    """Something in which the recipes of a space differ."""

    name: str
    neutral: Value  # of a recipe that leaves it out
    leads: bool  # tells whether its method is there, or is the first of one that always is: to show if there is no room


class Axes:
    """Those of one space, in its order. `values` places a recipe on them."""

    def __init__(self, steps: Any, known: Traits, left_out: Container[str] = ()) -> None:
        """`steps` as `SearchSpace.dump` has them, `known` the traits of their methods, `left_out` the places of those
        that are not searched because they cannot act on the model."""
        self._steps = without(_Recorded(Mistakes()).steps(steps, ()), left_out) or ()
        self._known = known
        self._choices: dict[str, OneOf] = {}
        self._axes: dict[str, Axis] = {}
        turns = Counter[str]()
        for step in self._steps:
            self._add(step, list(_stations((step,), turns)))

    def __iter__(self) -> Iterator[Axis]:
        return iter(self._axes.values())

    def values(self, params: Params) -> dict[str, Value]:
        """Where the recipe of these parameters stands on every axis. No parameters: a recipe that does nothing."""
        found = {axis.name: axis.neutral for axis in self}
        for name, step in self._choices.items() if params else ():
            taken = "+".join(method.name for _, method in _stations((step,), Counter(), params))
            found[name] = ("yes" if found[name] == "no" else taken) if taken else found[name]
        for called, method in _stations(self._steps, Counter(), params) if params else ():
            for knob, distribution in method.knobs.items():
                if (name := f"{called}.{knob}") in found:
                    fixed = distribution.extremes[0] if isinstance(distribution, Fixed) else found[name]
                    found[name] = params.get(f"{method.at}.{knob}", fixed)
        return found

    def _add(self, step: Step, stations: list[Station]) -> None:
        """The axes of one step of the space."""
        offered: dict[str, list[Distribution]] = {}
        for called, method in stations:
            for knob, distribution in method.knobs.items():
                offered.setdefault(f"{called}.{knob}", []).append(distribution)
        varied = {name: options for name, options in offered.items() if _vary(options)}
        neutral = {name: self._neutral(name) for name in varied}
        told, led = any(value not in (0, "none") for value in neutral.values()), set[str]()
        if isinstance(step, OneOf) and len(step.options) > 1:
            used = [option for option in step.options if option]
            if len(used) > 1 or not told:
                name = self._free(self._title(step))
                self._choices[name] = step
                self._axes[name] = Axis(name, "none" if len(used) > 1 else "no", leads=True)
                led |= {called for called, _ in stations if len(used) == 1}
        for name in varied:
            called = name.rpartition(".")[0]
            self._axes[name] = Axis(name, neutral[name], leads=called not in led)
            led.add(called)

    def _neutral(self, name: str) -> Value:
        """As the study's methods declared it; an older study did not write that down."""
        called, _, knob = name.rpartition(".")
        method = called.partition(":")[0]
        known = self._known.get(method, {}).get("neutral")
        if known is None:
            known = methods()[method].neutral() if method in methods() else {}
        value: Value = known.get(knob, "none")
        return value

    def _title(self, step: OneOf) -> str:
        """Of its family where there is one, else of its methods."""
        names = list(dict.fromkeys(method.name for method in every_method((step,))))
        families = {self._known.get(name, {}).get("family", "") for name in names}
        if len([option for option in step.options if option]) == 1:
            return " and ".join(names)
        if len(families) == 1 and "" not in families:
            return str(*families)
        rest = len(names) - _NAMED
        return " or ".join([*names[:_NAMED], f"{rest} more"] if rest > 1 else names)

    def _free(self, title: str) -> str:
        """`title`, or `title:2` if another step has it."""
        taken = sum(name.partition(":")[0] == title for name in self._choices)
        return f"{title}:{taken + 1}" if taken else title


class _Recorded(Grammar):
    """Reads steps that were read before: with every knob said, and of methods that need not be there."""

    def _method(self, given: Any, place: Place, at: str) -> OpenMethod:
        name, forms = split(given)
        every = {knob: _distribution(form) for knob, form in (forms or {}).items()}
        return OpenMethod(name, every, self._unique(f"{at}.{name}", every), place)


def _distribution(form: Any) -> Distribution:
    match form:
        case dict():
            return Range(**form)
        case [only]:
            return Fixed(only)
        case list():
            return Choice(tuple(form))
        case _:
            return Fixed(form)


def _vary(options: list[Distribution]) -> bool:
    return any(not isinstance(each, Fixed) for each in options) or len({repr(each) for each in options}) > 1


def _stations(steps: tuple[Step, ...], turns: Counter[str], params: Params | None = None) -> Iterator[Station]:
    """Every method that is offered, or those that these parameters take. `turns`: how often each came before."""
    for step in steps:
        if isinstance(step, OpenMethod):
            turns[step.name] += 1
            count = turns[step.name]
            yield (f"{step.name}:{count}" if count > 1 else step.name), step
            continue
        before, most = Counter(turns), Counter(turns)
        for label, option in zip(step.labels, step.options, strict=True):
            within = Counter(before)
            found = list(_stations(option, within, params))
            most |= within
            if params is None or label == params.get(step.at, step.labels[0] if len(step.labels) == 1 else ""):
                yield from found
        turns |= most
