"""Everything autocompress raises on purpose.

AutocompressError
├── ConfigError        what the user wrote is wrong: file, line, rule and value (exit code 2)
├── NotApplicable      a method cannot act on this model: the trial is infeasible, the study goes on
├── Unmeasured         an artefact could not be run: one measurement fails, the study goes on
├── Diverged           training left the numbers: one trial fails, the study goes on
├── NotFinite          a model's answers are no finite numbers: one trial fails, the study goes on
├── NothingFeasible    no recipe meets every constraint, or none did when it was measured again (exit code 3)
└── Paused             trouble outside the recipes: mend it and resume (exit code 4)
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 90


class AutocompressError(Exception):
    """Base of every error autocompress raises on purpose."""


class ConfigError(AutocompressError, ValueError):
    """The user's configuration is wrong. One mistake a line."""


class NotApplicable(AutocompressError):
    """A method cannot act on this model."""


class Diverged(AutocompressError):
    """The loss is no longer a finite number, or far above where it began. `stage`: the key of what was trained."""

    stage = ""


class Unmeasured(AutocompressError):
    """An artefact could not be run in a process of its own."""


class NotFinite(AutocompressError):
    """A model answers with NaN or infinity."""


class NothingFeasible(AutocompressError):
    """No recipe that was tried meets every constraint, or none did when the finalists were measured again."""


class Paused(AutocompressError):
    """The search cannot go on until something outside it is mended."""


def nearest(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """The sentence that helps after an unknown name: the nearest known one, else all of them."""
    options = list(known)
    near = difflib.get_close_matches(name, options, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"{otherwise}: {', '.join(options)}."


def foreign(error: BaseException) -> bool:
    """Whether another library raised it for what it was given: a panic of Rust code is no `Exception`."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"  # which cannot be imported


def short(value: object) -> str:
    """A value for a sentence: as Python writes it, at most 80 characters of it, however large or deep it is."""
    said = _REPR.repr(value)
    return said if len(said) < 80 else f"{said[:76]}..."


def reason(error: BaseException) -> str:
    """What another library's error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].removeprefix("Got: ").rstrip(".")
