"""What is known of a running search: how far it is, what goes on, what is best, what became of the trials.

Pure data, fed by the events of the search; how it looks is `drawing`'s business.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from autocompress.engine.progress import Growth
from autocompress.engine.trial import Trial
from autocompress.space.goals import DEFAULT_OBJECTIVES, Goals
from autocompress.space.recipe import Recipe
from autocompress.trials.job import BASELINE, Job


@dataclass
class UnderWay:
    """A job that a worker has in hand."""

    job: Job
    recipe: Recipe
    step: int = 0
    steps: int = 0
    loss: float = math.nan
    stepped: tuple[float, int] | None = None  # when on the clock the first step was told of, and which it was
    left: float | None = None  # seconds, as far as its steps tell

    def take_step(self, now: float, step: int, steps: int, loss: float) -> None:
        self.step, self.steps, self.loss = step, steps, loss
        self.stepped = self.stepped or (now, step)
        if step > self.stepped[1]:
            self.left = (now - self.stepped[0]) / (step - self.stepped[1]) * (steps - step)

    @property
    def epoch(self) -> tuple[int, int] | None:
        """Which one, of how many. None: nothing is trained, or several things, each with epochs of its own."""
        trained = [method for method in self.recipe if method.trains]
        epochs = getattr(trained[0], "epochs", None) if len(trained) == 1 else None
        if not self.step or not self.steps or not isinstance(epochs, int | float):
            return None
        whole = math.ceil(epochs)
        return min(whole, int((self.step - 1) / self.steps * epochs) + 1), whole


class SearchView:
    """Of one run. `trials`: those of earlier runs of the study."""

    def __init__(
        self, budget: int, trials: Iterable[Trial] = (), goals: Goals | None = None, ends_in: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`ends_in`: seconds until trainings are put aside."""
        self.budget = budget
        self.objectives = (goals or Goals(DEFAULT_OBJECTIVES)).objectives
        self.baseline: Trial | None = None
        self.under_way: dict[tuple[int, int], UnderWay] = {}  # by number and repeat
        self.charged = self.cached = self.failed = 0
        self.refused: Counter[str] = Counter()  # by what it was refused for
        self.stopped: Counter[str] = Counter()  # by the share of the training
        self.volumes: list[float] = []
        self._goals, self._clock = goals, clock
        self._best: dict[str, Trial] = {}
        self._trained_here: set[int] = set()  # of which a step was heard
        self._growth: Growth | None = None
        self._earlier = sorted(trials, key=lambda t: t.ended)
        for trial in self._earlier:
            self._count(trial)
        self._charged_before = self.charged
        self.began = self._trials_began = clock()
        self.deadline = self.began + ends_in

    def begin(self, job: Job) -> None:
        self.under_way[job.number, job.repeat] = UnderWay(job, Recipe.read(job.recipe))

    def step(self, job: Job, step: int, steps: int, loss: float) -> None:
        self._trained_here.add(job.number)
        if now := self.under_way.get((job.number, job.repeat)):
            now.take_step(self._clock(), step, steps, loss)

    def end(self, number: int, repeat: int = 0) -> None:
        """Nothing of this goes on any more."""
        self.under_way.pop((number, repeat), None)

    def finished(self, trial: Trial) -> None:
        self.end(trial.number)
        if trial.number == BASELINE:
            self._begin_with(trial)
            return
        self._count(trial)
        self.cached += trial.charged and trial.state == "complete" and trial.number not in self._trained_here
        self._grow(trial)

    def best(self) -> dict[str, Trial]:
        """The best feasible trial by each objective."""
        return {name: self._best[name] for name in self.objectives if name in self._best}

    @property
    def seconds(self) -> float:
        """Of this run."""
        return self._clock() - self.began

    @property
    def seconds_left(self) -> float | None:
        """What the trials of this run took on average, times those to come; no longer than until the time is up."""
        done, rest = self.charged - self._charged_before, self.deadline - self._clock()
        if not done:
            return rest if math.isfinite(rest) else None
        return min(rest, (self._clock() - self._trials_began) / done * max(0, self.budget - self.charged))

    def _begin_with(self, baseline: Trial) -> None:
        """What it took says nothing of how long a trial takes."""
        self.baseline, self._trials_began = baseline, self._clock()
        if self._goals:
            self._growth = Growth(self._goals, baseline.measurement)
            for trial in self._earlier:
                self._grow(trial)

    def _grow(self, trial: Trial) -> None:
        if self._growth and (point := self._growth.take(trial)):
            self.volumes.append(point.hypervolume)

    def _count(self, trial: Trial) -> None:
        self.charged += trial.charged
        self.failed += trial.state == "failed"
        if trial.state == "refused":
            broken = [limit.split()[0] for limit, violation in trial.violations.items() if violation > 0]
            self.refused.update(broken[:1] or ["not applicable"])
        if trial.state == "stopped" and trial.rungs:
            self.stopped[f"{max(map(float, trial.rungs)):.0%}"] += 1
        if trial.feasible:
            for name, direction in self.objectives.items():
                sign = -1 if direction == "maximize" else 1
                best = self._best.get(name)
                if name in trial.measurement and (
                    best is None or sign * trial.measurement[name] < sign * best.measurement[name]
                ):
                    self._best[name] = trial
