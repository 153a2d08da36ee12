"""Who watches a search. The command line draws a display; a program may log, or look away."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Protocol

from autocompress.engine.trial import Trial
from autocompress.engine.trial_table import TrialTable
from autocompress.space.goals import Measurement
from autocompress.space.recipe import Recipe
from autocompress.trials.job import Job


class Journal(Protocol):
    """Keeps a copy of a study somewhere else while it is searched. Entered before the first trial."""

    seconds: float  # that this took

    def ended(self, trial: Trial, table: TrialTable) -> None:
        """A trial has ended."""

    def __enter__(self) -> object: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """The search is over."""


class Observer:
    """Hears of everything that happens; this one keeps it to itself."""

    def note(self, text: str) -> None:
        """Something worth knowing, in one sentence."""

    def begin(self, job: Job) -> None:
        """A job is handed to a worker."""

    def step(self, job: Job, step: int, steps: int, loss: float) -> None:
        """Training steps were taken. May be called from other threads, and not for every step."""

    def waits(self, trial: Trial) -> None:
        """No job of it is in hand until another trial has ended, which is trained alike. May be said again."""

    def finished(self, trial: Trial) -> None:
        """A trial was refused, measured or failed. The baseline is trial -1."""

    def confirmed(self, trial: Trial, repeat: int, measurement: Measurement) -> None:
        """A finalist was trained and measured with another seed, its `repeat`-th."""

    def remeasured(self, trial: Trial, measurement: Measurement) -> None:
        """A finalist's latency was measured again, in a process of its own."""

    def replayed(self, trial: Trial, steps: Recipe, reason: str) -> None:
        """The first steps of the winner's recipe were measured; or, for this reason, they could not be."""

    def reported(self, place: Path) -> None:
        """The report was written: its HTML file."""

    def unconfirmed(self, trial: Trial, repeat: int, reason: str) -> None:
        """A finalist could not be measured again (`repeat` 0) or trained with another seed."""
        self.note(f"{trial.label} {reason}")
