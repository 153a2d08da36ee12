"""A step of a recipe as it was written down: of another version, or to be read without loading any method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, cast

from pydantic import ValidationError

from autocompress.errors import ConfigError
from autocompress.space.method import Method, methods

Traits = Mapping[str, Mapping[str, Any]]  # method -> what a recipe has to know of it besides its knobs
_TRAITS = ("family", "stage", "trains", "pending", "values_only")
_UNKNOWN = {"family": "", "stage": "structure", "trains": False, "pending": False, "values_only": False}


class RecordedStep:
    """Reads like a method and cannot be carried out. It equals the method that says the very same of itself."""

    revision, uses_target, uses_corpus, uses_unlabelled, fitted, text_factor = 0, False, False, False, False, 1

    def __init__(self, name: str, knobs: dict[str, Any], traits: Mapping[str, Any]) -> None:
        self.name, self._knobs, self._traits = name, knobs, {**_UNKNOWN, **traits}

    def __getattr__(self, name: str) -> Any:
        known = {**self.__dict__.get("_traits", {}), **self.__dict__.get("_knobs", {})}
        if name not in known:
            raise AttributeError(name)
        return known[name]

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        yield from self._knobs.items()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RecordedStep | Method):
            return NotImplemented
        return self.name == other.name and self._knobs == other.model_dump(mode="json")

    def __hash__(self) -> int:
        return hash(self.name)

    def model_dump(self, mode: str = "python") -> dict[str, Any]:
        """The knobs as they were written."""
        return dict(self._knobs)

    @property
    def waits(self) -> bool:
        """As far as its traits tell."""
        return bool(self.pending)

    def checkpoints(self) -> tuple[str, ...]:
        """None: it is not carried out."""
        return ()

    def training_steps(self, texts: int) -> int:
        """None: it is not carried out."""
        return 0

    def apply(self, model: object, ctx: object) -> NoReturn:
        """Raises `ConfigError`."""
        raise ConfigError(
            f"this version of autocompress cannot carry out {self.name} as another version wrote it ({self._knobs}). "
            "Install the version that the study names in study.json."
        )


def traits() -> dict[str, dict[str, Any]]:
    """Those of every method that there is, and what its knobs read as where it is left out."""
    return {
        name: {trait: getattr(method, trait) for trait in _TRAITS} | {"neutral": method.neutral()}
        for name, method in methods().items()
    }


def read_step(name: str, knobs: dict[str, Any], known: Traits | None = None) -> Method:
    """The method with these knobs if today's says the very same of itself, else the step as it was written.

    Where the traits of its method are `known`, it is always the latter.
    """
    if known and name in known:
        return cast(Method, RecordedStep(name, knobs, known[name]))
    today = methods().get(name)
    try:
        method = today(**knobs) if today else None
    except ValidationError:
        method = None
    if method is not None and method.model_dump(mode="json") == knobs:
        return method
    stage = {"stage": today.stage, "trains": today.trains} if today else {}
    return cast(Method, RecordedStep(name, knobs, stage))
