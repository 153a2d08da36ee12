"""The models that were measured on this machine, runtime and target: their pieces and their figures, in the cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from autocompress.machine import cache
from autocompress.space.goals import Measurement
from autocompress.trials.prediction.pieces import Pieces

_KIND, _REVISION = "pieces", 2  # of what is counted as which piece


class Remembered(NamedTuple):
    """A model that was measured."""

    pieces: Pieces
    speedup: float
    size_mb: float


class History:
    """Of one `surroundings`: what, besides a model's shapes, decides its figures."""

    def __init__(self, surroundings: str) -> None:
        self._surroundings = surroundings
        self._read: dict[str, Remembered] = {}

    def has(self, shape: str) -> bool:
        return self._place(shape).exists()

    def keep(self, shape: str, pieces: Pieces, measured: Measurement) -> None:
        """`shape`: the key under which a model's figures are remembered."""
        figures = {name: measured[name] for name in ("speedup", "size_mb")}
        cache.value(_KIND, self._name(shape), lambda: {"pieces": pieces._asdict(), **figures})

    def known(self) -> list[Remembered]:
        """Everything, in an order that does not depend on when it was measured."""
        for place in cache.cache_root().glob(f"{_KIND}/{self._name('*')}.json"):
            if place.name not in self._read and (found := _known(place)):
                self._read[place.name] = found
        return [self._read[name] for name in sorted(self._read)]

    def _name(self, shape: str) -> str:
        return f"{self._surroundings}-{_REVISION}-{shape}"

    def _place(self, shape: str) -> Path:
        return cache.cache_root() / _KIND / f"{self._name(shape)}.json"


def _known(place: Path) -> Remembered | None:
    """What is written there; None if it was damaged, or is being written."""
    try:
        value = json.loads(place.read_text())["value"]
        return Remembered(Pieces(**value["pieces"]), value["speedup"], value["size_mb"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
