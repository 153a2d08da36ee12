"""Read the steps of a search space: `name`, `name: {knob: value}`, `one_of` and `skip`; there are no other words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autocompress.errors import ConfigError
from autocompress.space.language import knobs
from autocompress.space.language.mistakes import Mistakes, Place
from autocompress.space.language.steps import OneOf, OpenMethod, Step, Wanted
from autocompress.space.method import Method, find

Option = tuple[Step, ...]  # empty: skip


class Grammar:
    """Turns plain data into steps and gives every parameter its name: `2.layers.keep`, `2.1.heads.keep`."""

    def __init__(self, mistakes: Mistakes) -> None:
        self._mistakes = mistakes
        self._taken: dict[str, Any] = {}

    def steps(self, given: Any, place: Place) -> tuple[Step, ...]:
        """The open steps of a space."""
        if not isinstance(given, list) or not given:
            self._mistakes.add(place, f"steps should be a list with at least one step. Got {given!r}.")
            return ()
        read = [self._step(step, (*place, i), str(i)) for i, step in enumerate(given)]
        return tuple(step for step in read if step)

    def recipe(self, given: Any, place: Place) -> tuple[Wanted, ...]:
        """The steps of a recipe, with those of their knobs that it decides."""
        if not isinstance(given, list):
            self._mistakes.add(place, f"a recipe is a list of steps, such as [layers, finetune]. Got {given!r}.")
            return ()
        read = [self.wanted(step, (*place, i)) for i, step in enumerate(given)]
        return tuple(step for step in read if step)

    def wanted(self, given: Any, place: Place) -> Wanted | None:
        """One step of a recipe."""
        with self._mistakes.at(place):
            name, forms = split(given)
            if name in ("one_of", "skip"):
                raise ConfigError(f"a recipe is decided: it has no {name}. Got {given!r}.")
            return name, self._knobs(find(name), forms, (*place, name), knobs.value)
        return None

    def _step(self, given: Any, place: Place, at: str) -> Step | None:
        match given:
            case {"one_of": options} if len(given) == 1:
                return self._one_of(options, (*place, "one_of"), at)
            case _:
                return self._method(given, place, at)

    def _method(self, given: Any, place: Place, at: str) -> OpenMethod | None:
        with self._mistakes.at(place):
            name, forms = split(given)
            if name == "skip":
                raise ConfigError("skip is an option of one_of, not a step: a step that is never taken says nothing.")
            method = find(name)
            named = self._knobs(method, forms, (*place, name), knobs.read)
            every = {knob: named.get(knob, by_default) for knob, by_default in method.knobs().items()}
            return OpenMethod(name, every, self._unique(f"{at}.{name}", every), place)
        return None

    def _one_of(self, given: Any, place: Place, at: str) -> OneOf | None:
        options = self._options(given, place, at)
        labels: list[str] = []
        for option in options:
            label = "+".join(step.label for step in option) or "skip"
            same = sum(other.partition("#")[0] == label for other in labels)
            labels.append(f"{label}#{same + 1}" if same else label)
        return OneOf(tuple(options), tuple(labels), self._unique(at, labels)) if options else None

    def _options(self, given: Any, place: Place, at: str) -> list[Option]:
        if not isinstance(given, list) or not given:
            self._mistakes.add(place, f"one_of should be a list of options, such as [skip, layers]. Got {given!r}.")
            return []
        out: list[Option] = []
        for i, option in enumerate(given):
            for read in self._option(option, (*place, i), at):
                if read in out:
                    self._mistakes.add((*place, i), "this option stands twice in its one_of.")
                out.append(read)
        return out

    def _option(self, given: Any, place: Place, at: str) -> list[Option]:
        """What one entry of `one_of` offers. A `one_of` that stands alone in a `one_of` offers all of its own."""
        match given:
            case "skip":
                return [()]
            case {"one_of": options} if len(given) == 1:
                return self._options(options, (*place, "one_of"), at)
            case []:
                self._mistakes.add(place, "this list of steps is empty. Write skip.")
                return []
            case [only]:
                return self._option(only, (*place, 0), at)
            case list():
                steps = [self._step(step, (*place, i), f"{at}.{i}") for i, step in enumerate(given)]
                return [tuple(step for step in steps if step)]
            case _:
                method = self._method(given, place, at)
                return [(method,)] if method else []

    def _knobs(
        self, method: type[Method], forms: Any, place: Place, read: Callable[[type[Method], str, Any], Any]
    ) -> dict[str, Any]:
        """The knobs that are mentioned, each by its own `read`: one mistake does not hide the next."""
        has = f"It has: {', '.join(method.model_fields)}." if method.model_fields else "It has none."
        if not isinstance(forms, dict | None):
            raise ConfigError(f"{method.name}: knobs are written as {{knob: value}}. Got {forms!r}. {has}")
        out = {}
        for knob, form in (forms or {}).items():
            with self._mistakes.at((*place, knob)):
                if knob not in method.model_fields:
                    raise ConfigError(f"{method.name} has no knob {knob!r}. {has}")
                out[knob] = read(method, knob, form)
        return out

    def _unique(self, name: str, content: Any) -> str:
        """`name`, or `name#2` where it already means something else: a parameter has one meaning in a study."""
        count, unique = 1, name
        while self._taken.setdefault(unique, content) != content:
            count += 1
            unique = f"{name}#{count}"
        return unique


def split(given: Any) -> tuple[str, Any]:
    """A step's name and what stands behind it."""
    match given:
        case str():
            return given, None
        case dict() if len(given) == 1:
            return next(iter(given.items()))
        case dict() if given:
            raise ConfigError(f"a step is one method. Got {' and '.join(given)} together: give each its own dash.")
        case _:
            raise ConfigError(f"a step is a method's name, alone or as {{name: {{knob: value}}}}. Got {given!r}.")
