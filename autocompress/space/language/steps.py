"""The open steps of a search space: sample them, find a recipe in them, write them down."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from autocompress.errors import ConfigError
from autocompress.space.distributions import Distribution, Fixed, Suggest
from autocompress.space.language import knobs
from autocompress.space.language.mistakes import Place
from autocompress.space.method import Method, find

Params = dict[str, Any]  # what a sampler varies, by its name in the space
Wanted = tuple[str, Params]  # a method's name and the knobs that are asked for


class Search:
    """How far a recipe could be followed, and why no farther: for the one sentence that helps."""

    def __init__(self) -> None:
        self.reached, self.reason = -1, ""
        self._near = False

    def stuck(self, at: int, reason: str, *, near: bool = False) -> None:
        """Remember the reason at the farthest step; of several one that is `near`, the right method, then the first."""
        if (at, near) > (self.reached, self._near):
            self.reached, self.reason, self._near = at, reason, near


@dataclass(frozen=True)
class OpenMethod:
    """A method whose knobs are still open."""

    name: str
    knobs: dict[str, Distribution]
    at: str  # where it stands, as its parameters are called: `2.layers`
    place: Place = field(default=(), compare=False, repr=False)

    @property
    def label(self) -> str:
        return self.name

    def sample(self, trial: Suggest) -> Iterator[Method]:
        """This method, every knob decided."""
        yield find(self.name)(**{k: knobs.sampled(d, f"{self.at}.{k}", trial) for k, d in self.knobs.items()})

    def match(self, wanted: tuple[Wanted, ...], at: int, search: Search) -> Iterator[tuple[Params, int]]:
        """The parameters under which this step gives `wanted[at]`."""
        name, asked = wanted[at] if at < len(wanted) else ("", {})
        if name != self.name:
            offer = f"{name} is not offered here: " if name else "the recipe ends too early: "
            search.stuck(at, f"{offer}{self.name} comes next")
            return
        for knob, value in asked.items():
            if not knobs.holds(self.knobs[knob], value):
                search.stuck(at, f"{name}.{knob} = {value!r} is not within {knobs.form(self.knobs[knob])!r}", near=True)
                return
        default = find(self.name)()
        values = {k: asked.get(k, knobs.closest(d, getattr(default, k))) for k, d in self.knobs.items()}
        yield {f"{self.at}.{k}": v for k, v in values.items() if not isinstance(self.knobs[k], Fixed)}, at + 1

    def orders(self) -> Iterator[tuple[OpenMethod, ...]]:
        """Every sequence of methods that this step can give: itself."""
        yield (self,)

    def dump(self) -> Any:
        """As YAML holds it, nothing left out."""
        method = find(self.name)
        said = {k: d for k, d in self.knobs.items() if not (isinstance(d, Fixed) and method.is_unsaid(k, d.value))}
        return {self.name: {k: knobs.form(d) for k, d in said.items()}} if said else self.name


@dataclass(frozen=True)
class OneOf:
    """A choice between sequences of steps. The empty sequence is `skip`."""

    options: tuple[tuple[Step, ...], ...]
    labels: tuple[str, ...]  # what the sampler calls the options
    at: str  # the choice's own parameter

    @property
    def label(self) -> str:
        return "|".join(self.labels)

    def sample(self, trial: Suggest) -> Iterator[Method]:
        """One option's methods."""
        label = trial.suggest_categorical(self.at, list(self.labels)) if len(self.labels) > 1 else self.labels[0]
        for step in self.options[self.labels.index(label)]:
            yield from step.sample(trial)

    def match(self, wanted: tuple[Wanted, ...], at: int, search: Search) -> Iterator[tuple[Params, int]]:
        """The parameters under which this step gives some methods from `wanted[at]` on, for every way there is."""
        for label, option in zip(self.labels, self.options, strict=True):
            chosen = {self.at: label} if len(self.labels) > 1 else {}
            for params, end in match(option, wanted, at, search):
                yield chosen | params, end

    def orders(self) -> Iterator[tuple[OpenMethod, ...]]:
        """Every sequence of methods that this step can give."""
        for option in self.options:
            yield from orders(option)

    def dump(self) -> Any:
        """As YAML holds it, nothing left out."""
        written = [[step.dump() for step in option] for option in self.options]
        return {"one_of": [w[0] if len(w) == 1 else w or "skip" for w in written]}


Step = OpenMethod | OneOf


def match(steps: tuple[Step, ...], wanted: tuple[Wanted, ...], at: int, search: Search) -> Iterator[tuple[Params, int]]:
    """Every way in which `steps` give the methods from `wanted[at]` on: parameters, and where they end."""
    if not steps:
        yield {}, at
        return
    for params, reached in steps[0].match(wanted, at, search):
        for more, end in match(steps[1:], wanted, reached, search):
            yield params | more, end


def locate(steps: tuple[Step, ...], wanted: tuple[Wanted, ...]) -> Params:
    """The parameters under which `steps` give exactly `wanted`. The error names the first step that does not fit."""
    search = Search()
    for params, end in match(steps, wanted, 0, search):
        if end == len(wanted):
            return params
        search.stuck(end, "the space has no step left")
    name = wanted[search.reached][0] if search.reached < len(wanted) else "the end"
    raise ConfigError(f"the space cannot hold step {search.reached + 1} of the recipe, {name}: {search.reason}.")


def orders(steps: tuple[Step, ...]) -> Iterator[tuple[OpenMethod, ...]]:
    """Every sequence of methods that `steps` can give, knobs left open."""
    for parts in product(*(tuple(step.orders()) for step in steps)):
        yield tuple(method for part in parts for method in part)


def every_method(steps: tuple[Step, ...]) -> Iterator[OpenMethod]:
    """Every method that is offered, from top to bottom."""
    for step in steps:
        if isinstance(step, OneOf):
            yield from (method for option in step.options for method in every_method(option))
        else:
            yield step


def without(steps: tuple[Step, ...], places: Container[str]) -> tuple[Step, ...] | None:
    """The same steps without every option that needs a method at one of these places. None: nothing is left."""
    kept: list[Step] = []
    for step in steps:
        if isinstance(step, OneOf):
            options = {label: without(option, places) for label, option in zip(step.labels, step.options, strict=True)}
            left = {label: option for label, option in options.items() if option is not None}
            if not left:
                return None
            kept.append(replace(step, options=tuple(left.values()), labels=tuple(left)))
        elif step.at in places:
            return None
        else:
            kept.append(step)
    return tuple(kept)
