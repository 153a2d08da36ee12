"""Collect every mistake of a file before saying any, in words that know nothing of pydantic."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from autocompress.errors import ConfigError, nearest
from autocompress.space.settings import Settings

Place = tuple[str | int, ...]  # the keys and list positions that lead to a value
S = TypeVar("S", bound=Settings)


class Mistakes:
    """What is wrong so far, and where."""

    def __init__(self) -> None:
        self._found: list[tuple[Place, str, int | None]] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, place: Place, sentence: str, *, line: int | None = None) -> None:
        """Remember a mistake. `line` where the place alone does not tell, as for a key that stands twice."""
        self._found.append((place, sentence, line))

    def at(self, place: Place) -> _Attempt:
        """A block whose `ConfigError` is remembered, after which the reading goes on."""
        return _Attempt(self, place)

    def settle(self, where: Callable[[Place], str]) -> None:
        """Raise everything found, in the order of the lines; or nothing."""
        lines = []
        for place, sentence, line in self._found:
            at = where(place)
            lines.append(f"{at if line is None else at.rpartition(':')[0] + f':{line}'}: {sentence}")
        if lines:
            raise ConfigError("\n".join(sorted(dict.fromkeys(lines), key=_line)))


@dataclass(frozen=True)
class _Attempt:
    """Not `contextlib.contextmanager`: a type checker has to see that the block may end early."""

    mistakes: Mistakes
    place: Place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        if isinstance(error, ConfigError):
            self.mistakes.add(self.place, str(error))
        return isinstance(error, ConfigError)


def read_settings(kind: type[S], value: Any, place: Place, mistakes: Mistakes) -> S | None:
    """`value` as `kind`, or None and its mistakes, each as a sentence of ours."""
    name = ".".join(map(str, place))
    if not isinstance(value, dict):
        mistakes.add(place, f"{name} should hold keys and values: {', '.join(kind.model_fields)}. Got {value!r}.")
        return None
    try:
        return kind.model_validate(value)
    except ValidationError as e:
        for error in e.errors():
            loc = tuple(part for part in error["loc"] if part != "[key]")
            mistakes.add((*place, *loc), _sentence(name, loc, error, kind))
    return None


def _sentence(name: str, loc: Place, error: Any, kind: type[Settings]) -> str:
    key, where = loc[-1], ".".join(map(str, (name, *loc)))
    match error["type"]:
        case "missing":
            return f"{name} needs the key {key!r}."
        case "extra_forbidden":
            inner = ".".join(map(str, (name, *loc[:-1])))
            return f"{inner} has no key {key!r}. {nearest(str(key), _keys(kind, loc[:-1]), otherwise='It has')}"
        case "literal_error":
            legal = re.findall(r"'([^']*)'", error["ctx"]["expected"])
            hint = nearest(str(error["input"]), legal, otherwise="It may be")
            if "[key]" in error["loc"]:
                return f"{name}.{loc[0]} has no key {key!r}. {hint.replace('It may be', 'It has')}"
            return f"{where} may not be {error['input']!r}. {hint}"
        case "string_type":
            return f"{where} should be text. Got {error['input']!r}."
        case "int_type":
            return f"{where} should be a whole number. Got {error['input']!r}."
        case "bool_type":
            return f"{where} should be true or false. Got {error['input']!r}."
        case "dict_type":
            return f"{where} should hold keys and values. Got {error['input']!r}."
        case "value_error":
            return f"{where} {error['ctx']['error']}. Got {error['input']!r}."
    return f"{where} {error['msg'].removeprefix('Input ')}. Got {error['input']!r}."


def _keys(kind: type[Settings], loc: Place) -> list[str]:
    """What the section at `loc` within `kind` may hold."""
    for part in loc:
        annotation = kind.model_fields[str(part)].annotation
        if isinstance(annotation, type) and issubclass(annotation, Settings):
            kind = annotation
    return list(kind.model_fields)


def _line(text: str) -> int:
    """The line number of `file:line: sentence`; 0 where there is no file."""
    found = re.match(r".*?:(\d+): ", text)
    return int(found[1]) if found else 0
