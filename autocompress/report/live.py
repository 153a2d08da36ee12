"""What a person sees of a running search: a line for every trial that ended, a bar for each that goes on.

Where the terminal is no terminal there are no bars, and after a minute without a line one says how far it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn

from autocompress.engine.events import Observer
from autocompress.engine.trial import Trial
from autocompress.machine.heartbeat import EVERY, Heartbeat
from autocompress.report.tables import short
from autocompress.space.goals import Measurement
from autocompress.space.recipe import Recipe
from autocompress.trials.job import BASELINE, Job

_DOING = {
    "baseline": "fine-tunes and measures the baseline", "applies": "asks which methods can act on this model",
    "rehearse": "rehearses", "train": "trains",
    "evaluate": "is measured", "remeasure": "is measured again", "judge": "is scored on the test split",
    "replay": "is replayed step by step",
}  # fmt: skip


class Display(Observer):
    """Use as a context manager."""

    def __init__(self, console: Console, budget: int, trials: Iterable[Trial], every: float = EVERY) -> None:
        """`trials`: those of earlier runs of the same study. `every`: seconds of silence that are too long."""
        self._console = console
        self._budget = budget
        self._charged = self._refused = 0
        self._best: Trial | None = None
        for trial in trials:
            self._count(trial)
        self._began, self._charged_before = time.monotonic(), self._charged
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[more]}"), console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._all: TaskID = self._bars.add_task("trained trials", total=budget, completed=self._charged, more="")
        self._now: dict[tuple[int, int], TaskID] = {}  # by number and repeat of what is under way
        self._heartbeat = None if console.is_terminal else Heartbeat(self.status, self._print, every)

    def note(self, text: str) -> None:
        self._print(f"[yellow]note[/] {escape(text)}")

    def begin(self, job: Job) -> None:
        who = "the search" if job.number == BASELINE else f"t{job.number:03d} {Recipe.read(job.recipe).title}"
        if (key := (job.number, job.repeat)) not in self._now:
            self._now[key] = self._bars.add_task("", total=1, more="")
        bar = self._now[key]
        self._bars.reset(bar, description=f"{who} {_DOING[job.kind]}", completed=0, total=1, more="")

    def step(self, job: Job, step: int, steps: int, loss: float) -> None:
        if (bar := self._now.get((job.number, job.repeat))) is None:  # two steps of a replay share one
            return
        self._bars.update(bar, completed=step, total=steps, more=f"steps, loss {loss:.3f}")

    def finished(self, trial: Trial) -> None:
        if trial.number == BASELINE:
            self._began = time.monotonic()  # what it took says nothing of how long a trial takes
        else:
            self._count(trial)
        if (key := (trial.number, 0)) in self._now:
            self._bars.remove_task(self._now.pop(key))
        self._print(_line(trial))
        self._bars.update(self._all, completed=self._charged, more=self._summary())

    def confirmed(self, trial: Trial, repeat: int, measurement: Measurement) -> None:
        self._bars.remove_task(self._now.pop((trial.number, repeat)))
        first, again = trial.measurement["score"], measurement["score"]
        self._print(
            f"[bold]t{trial.number:03d}[/]  with seed {repeat + 1} it scores {again:.3f}, with the first {first:.3f}"
        )

    def remeasured(self, trial: Trial, measurement: Measurement) -> None:
        self._bars.remove_task(self._now.pop((trial.number, 0)))
        now, before = measurement["latency_ms"], trial.measurement["latency_ms"]
        self._print(
            f"[bold]t{trial.number:03d}[/]  in a process of its own it takes {now:.2f} ms, in the search {before:.2f}"
        )

    def replayed(self, trial: Trial, steps: Recipe, reason: str) -> None:
        if (key := (trial.number, 0)) in self._now:
            self._bars.remove_task(self._now.pop(key))
        if reason:
            self.note(f"{trial.label} could not be replayed up to {steps[-1].name}: {reason}")

    def reported(self, place: Path) -> None:
        self._print(f"The report is in {escape(os.path.relpath(place))}")

    def status(self) -> str:
        """How far the search is, in one line."""
        under_way = [self._doing(task) for task in self._bars.tasks if task.id != self._all]
        trained = f"{self._charged} of {self._budget} trials trained"
        return "; ".join([time.strftime("%H:%M"), *(under_way or ["between trials"]), trained, self._summary()])

    def _doing(self, task: Task) -> str:
        steps = f", step {task.completed:.0f} of {task.total:.0f}" if task.completed and task.total else ""
        left = task.time_remaining if steps and not task.finished else None
        loss = task.fields["more"].removeprefix("steps")
        return f"{task.description}{steps}{loss}" + (f", {_about(left)} left" if left else "")

    def _print(self, text: str) -> None:
        if self._heartbeat:
            self._heartbeat.heard()
        self._console.print(text, soft_wrap=True, highlight=False)

    def unconfirmed(self, trial: Trial, repeat: int, reason: str) -> None:
        if (key := (trial.number, repeat)) in self._now:
            self._bars.remove_task(self._now.pop(key))
        super().unconfirmed(trial, repeat, reason)

    def _count(self, trial: Trial) -> None:
        self._charged += trial.charged
        self._refused += trial.state == "refused"
        if trial.feasible and (self._best is None or trial.measurement["score"] > self._best.measurement["score"]):
            self._best = trial

    def _summary(self) -> str:
        best = self._best
        parts = [
            f"best feasible t{best.number:03d} {_figures(best)}" if best else "nothing feasible yet",
            f"{self._refused} refused",
            self._left(),
        ]
        return " · ".join(part for part in parts if part)

    def _left(self) -> str:
        """What the trials of this run took on average, times those to come."""
        done = self._charged - self._charged_before
        if not done:
            return ""
        seconds = (time.monotonic() - self._began) / done * (self._budget - self._charged)
        return f"{_about(seconds)} left"

    def __enter__(self) -> Display:
        self._bars.start()
        if self._heartbeat:
            self._heartbeat.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._heartbeat:
            self._heartbeat.__exit__(kind, error, at)
        self._bars.stop()


def _about(seconds: float) -> str:
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"


def _figures(trial: Trial) -> str:
    m = trial.measurement
    return f"{m['score']:.3f} {m['latency_ms']:.1f} ms ({m['speedup']:.2f}x) {m['size_mb']:.1f} MB"


def _line(trial: Trial) -> str:
    """One line of the log."""
    if trial.number == BASELINE:
        return f"[bold]baseline[/]  {_figures(trial)}"
    name = f"[bold]t{trial.number:03d}[/]  {escape(short(trial))}"
    name += f" [dim](trained as t{trial.variant_of:03d})[/]" if trial.variant_of is not None else ""
    if trial.state != "complete":
        colour = "red" if trial.state == "failed" else "dim"
        return f"{name}  [{colour}]{trial.state}: {escape(trial.reason)}[/]"
    verdict = "[green]feasible, on the front[/]" if trial.front else "feasible" if trial.feasible else ""
    return f"{name}  {_figures(trial)}  " + (verdict or f"[dim]over the limits: {escape(trial.reason)}[/]")
