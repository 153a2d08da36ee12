"""A step of a recipe as another version wrote it: a method or knobs that this version has not, shown as they were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn, cast

from pydantic import ValidationError

from autocompress.errors import ConfigError
from autocompress.space.method import Method, methods

if TYPE_CHECKING:
    from torch import nn

    from autocompress.methods.context import Context


class RecordedStep:
    """Reads like a method and cannot be carried out. No method of today is equal to it."""

    def __init__(self, name: str, knobs: dict[str, Any]) -> None:
        self.name, self._knobs = name, knobs
        known = methods().get(name)
        self.revision = 0
        self.stage = known.stage if known else "structure"
        self.trains = known.trains if known else False
        self.pending = self.values_only = False

    def __getattr__(self, knob: str) -> Any:
        knobs = self.__dict__.get("_knobs", {})
        if knob not in knobs:
            raise AttributeError(knob)
        return knobs[knob]

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        yield from self._knobs.items()

    def model_dump(self, mode: str = "python") -> dict[str, Any]:
        """The knobs as they were written."""
        return dict(self._knobs)

    def training_steps(self, texts: int) -> int:
        """None: it is not carried out."""
        return 0

    def apply(self, model: nn.Module, ctx: Context) -> NoReturn:
        """Raises `ConfigError`."""
        raise ConfigError(
            f"this version of autocompress cannot carry out {self.name} as another version wrote it ({self._knobs}). "
            "Install the version that the study names in study.json."
        )


def read_step(name: str, knobs: dict[str, Any]) -> Method:
    """The method with these knobs if today's says the very same of itself, else the step as it was written."""
    known = methods().get(name)
    try:
        method = known(**knobs) if known else None
    except ValidationError:
        method = None
    same = method is not None and method.model_dump(mode="json") == knobs
    return method if method is not None and same else cast(Method, RecordedStep(name, knobs))
