"""What a person sees of a running search: a line for every trial that ended, and below them a view that moves.

Where the terminal is no terminal there is no such view, and after a minute without a line one says how far it is.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from autocompress.engine.events import Observer
from autocompress.engine.trial import Trial
from autocompress.machine.heartbeat import EVERY, Heartbeat
from autocompress.report.terminal.drawing import drawn
from autocompress.report.terminal.lines import status, trial_line
from autocompress.report.terminal.view import SearchView
from autocompress.space.goals import Goals, Measurement
from autocompress.space.recipe import Recipe
from autocompress.trials.job import Job


class Display(Observer):
    """Use as a context manager."""

    def __init__(
        self, console: Console, budget: int, trials: Iterable[Trial], every: float = EVERY, goals: Goals | None = None,
        ends_in: float = math.inf,
    ) -> None:  # fmt: skip
        """`trials`: those of earlier runs of the same study. `every`: seconds of silence that are too long.

        `ends_in`: seconds until the time is up.
        """
        self._console = console
        self.view = SearchView(budget, trials, goals, ends_in)
        self._live: Live | None = None
        self._heartbeat: Heartbeat | None = None
        if console.is_terminal:
            self._live = Live(
                console=console, get_renderable=lambda: drawn(self.view), transient=True, vertical_overflow="crop"
            )
        else:
            self._heartbeat = Heartbeat(self.status, self._print, every)

    def note(self, text: str) -> None:
        self._print(escape(text), "[yellow]note[/]", between=" ")

    def begin(self, job: Job) -> None:
        self.view.begin(job)

    def step(self, job: Job, step: int, steps: int, loss: float) -> None:
        self.view.step(job, step, steps, loss)

    def waits(self, trial: Trial) -> None:
        self.view.end(trial.number)

    def finished(self, trial: Trial) -> None:
        self.view.finished(trial)
        name, recipe, outcome = trial_line(trial)
        told = [outcome, recipe] if self._console.is_terminal else [recipe, outcome]  # figures below each other
        self._print("  ".join(filter(None, told)), name)

    def confirmed(self, trial: Trial, repeat: int, measurement: Measurement) -> None:
        self.view.end(trial.number, repeat)
        first, again = trial.measurement["score"], measurement["score"]
        said = f"with seed {repeat + 1} it scores {again:.3f}, with the first {first:.3f}"
        self._print(said, f"[bold]t{trial.number:03d}[/]")

    def remeasured(self, trial: Trial, measurement: Measurement) -> None:
        self.view.end(trial.number)
        now, before = measurement["latency_ms"], trial.measurement["latency_ms"]
        said = f"in a process of its own it takes {now:.2f} ms, in the search {before:.2f}"
        self._print(said, f"[bold]t{trial.number:03d}[/]")

    def unconfirmed(self, trial: Trial, repeat: int, reason: str) -> None:
        self.view.end(trial.number, repeat)
        super().unconfirmed(trial, repeat, reason)

    def replayed(self, trial: Trial, steps: Recipe, reason: str) -> None:
        self.view.end(trial.number)
        if reason:
            self.note(f"{trial.label} could not be replayed up to {steps[-1].name}: {reason}")

    def reported(self, place: Path) -> None:
        self._print(f"The report is in {escape(os.path.relpath(place))}")

    def status(self) -> str:
        """How far the search is, in one line."""
        return status(self.view)

    def _print(self, text: str, name: str = "", between: str = "  ") -> None:
        """In a terminal a long text is wrapped beside the name, elsewhere it is one line."""
        if self._heartbeat:
            self._heartbeat.heard()
        if self._console.is_terminal and name:
            grid = Table.grid(padding=(0, len(between)))
            grid.add_column(no_wrap=True)
            grid.add_column()
            grid.add_row(name, text)
            self._console.print(grid, highlight=False)
        else:
            said = f"{name}{between}{text}" if name else text
            self._console.print(said, soft_wrap=True, highlight=False)

    def __enter__(self) -> Display:
        for each in (self._live, self._heartbeat):
            if each:
                each.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for each in (self._live, self._heartbeat):
            if each:
                each.__exit__(kind, error, at)
