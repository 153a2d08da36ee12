"""A training that is put aside and taken up again bit for bit: every few minutes, and where the search has to end.

    <key>/state.safetensors   every tensor that the steps to come depend on
    <key>/aside.json          whose training it is, its step, and what else its course wants to know again

`AUTOCOMPRESS_SAVE_MINUTES` says how often (5 if it is not set).
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from autocompress.errors import ConfigError
from autocompress.machine import fault_points
from autocompress.methods.context import Course, Interruptible, OnStep
from autocompress.trials.artefacts import Artefacts

_STATE, _NOTE = "state.safetensors", "aside.json"
_MINUTES = "5"


class PutAside(Exception):
    """No trouble: the training came as far as it should for now."""


def save_seconds() -> float:
    """How often a training is put aside. Raises `ConfigError` for a setting that is no number of minutes."""
    given = os.environ.get("AUTOCOMPRESS_SAVE_MINUTES") or _MINUTES
    try:
        minutes = float(given)
    except ValueError:
        minutes = -1.0
    if not minutes >= 0:
        raise ConfigError(
            f"AUTOCOMPRESS_SAVE_MINUTES: it should be a number of minutes such as 5 or 0.5. Got {given!r}."
        )
    return minutes * 60


class Aside:
    """Where one training at a time is put aside."""

    def __init__(self, artefacts: Artefacts, key: str, deadline: float = math.inf) -> None:
        """`deadline`: seconds since 1970 at which no step is taken any more."""
        self._artefacts, self._place, self._deadline = artefacts, key, deadline
        self._every, self._saved_at = save_seconds(), time.monotonic()

    def restore(self, training: Interruptible, key: str) -> Any:
        """Go on where the training of this key was put aside; what was noted then. None: it was not."""
        folder = self._artefacts.get(self._place)
        if folder is None or (known := json.loads((folder / _NOTE).read_text()))["key"] != key:
            return None
        training.restore(load_file(folder / _STATE), known["step"])
        return known["told"]

    def step(self, training: Interruptible, key: str, tell: Callable[[], object], told: Callable[[], Any]) -> None:
        """Tell of a step. The training is put aside if that raises an interrupt, if it is due, or if the time is up.

        `told` gives what to note. Raises `PutAside` if the time is up and a step is left.
        """
        try:
            tell()
        except KeyboardInterrupt:
            self.put(training, key, told())
            raise
        late, due = time.time() >= self._deadline, time.monotonic() - self._saved_at >= self._every
        if training.step < training.steps and (late or due):
            self.put(training, key, told())
            if late:
                raise PutAside

    def put(self, training: Interruptible, key: str, told: Any) -> None:
        """Put the training aside."""

        def write(draft: Path) -> None:
            save_file({name: tensor.contiguous() for name, tensor in training.state().items()}, draft / _STATE)
            (draft / _NOTE).write_text(json.dumps({"key": key, "step": training.step, "told": told}))

        self._artefacts.put(self._place, write)
        fault_points.point("aside")
        self._saved_at = time.monotonic()

    def forget(self) -> None:
        """Nothing is needed of it any more."""
        self._artefacts.drop(self._place)


class Resumable(Course):
    """A single training that goes on where it was put aside."""

    def __init__(self, on_step: OnStep, aside: Aside, key: str) -> None:
        super().__init__(on_step)
        self._aside, self._key = aside, key
        self.seconds = 0.0  # of its steps, over every resume

    def begins(self, training: Interruptible) -> None:
        """Go on where it was put aside."""
        self.seconds = self._aside.restore(training, self._key) or 0.0
        self._last = time.perf_counter()

    def stepped(self, training: Interruptible, loss: float) -> None:
        """Count its time, tell of it, and put it aside if need be."""
        self.seconds += time.perf_counter() - self._last
        self._aside.step(training, self._key, lambda: self._tell(training, loss), lambda: self.seconds)
        self._last = time.perf_counter()

    def _tell(self, training: Interruptible, loss: float) -> None:
        super().stepped(training, loss)
