"""What is known of all trials of a study at one moment: by number, by recipe, how many, and which are on the front.

Kept up to date trial by trial, so that a search of many trials does not get slower as it goes on.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from autocompress.engine.front.dominance import Difference, Front, unknown
from autocompress.engine.trial import Trial
from autocompress.space.goals import Goals, Measurement
from autocompress.space.recipe import Recipe

EVALUATED = ("complete", "stopped", "failed")


class TrialTable:
    """The trials by number, in the order in which they were asked for."""

    def __init__(self, trials: Iterable[Trial], goals: Goals, difference: Difference = unknown) -> None:
        """`difference`: between the scores of two trials, text by text."""
        self._front = Front(goals, difference)
        self._trials: dict[int, Trial] = {}
        self._first: dict[str, int] = {}  # recipe -> its first trial
        self._keys: dict[int, str] = {}
        self._training: dict[str, list[int]] = {}  # what is trained -> its trials
        self._diverged: dict[str, int] = {}  # what was trained in vain -> its first trial
        self._counts: Counter[str] = Counter()
        self._evaluated: list[int] = []  # the numbers of those that began training and have ended, in order
        self.training_seconds = 0.0  # of all trials together
        for trial in trials:
            self.keep(trial)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials.values())

    def __getitem__(self, number: int) -> Trial:
        return self._trials[number]

    def keep(self, trial: Trial) -> Trial:
        """Take in a trial, or what has become of it."""
        before = self._trials.get(trial.number)
        if before is None:
            key = self._keys[trial.number] = trial.recipe.key
            self._counts["recipes"] += key not in self._first and trial.recipe.fault() is None
            self._first.setdefault(key, trial.number)
            self._training.setdefault(trial.recipe.trained.key, []).append(trial.number)
        else:
            self._counts.subtract(_marks(before))
            self.training_seconds -= before.seconds.get("train", 0.0)
        if trial.diverged:
            self._diverged.setdefault(trial.diverged, trial.number)
        self._trials[trial.number] = trial
        self._counts.update(_marks(trial))
        self.training_seconds += trial.seconds.get("train", 0.0)
        if trial.state in EVALUATED and not (before and before.state in EVALUATED):
            insort(self._evaluated, trial.number)
        if trial.feasible and trial.number not in self._front:
            self._front.add(trial.number, trial.measurement)
        return trial

    @property
    def front(self) -> set[int]:
        """Of the feasible trials, those that no other one on the front beats."""
        return self._front.numbers

    def beaten_by(self, measurement: Measurement) -> set[int]:
        """Those on the front that would beat a trial which measured this."""
        return self._front.beaten_by(measurement)

    def count(self, mark: str) -> int:
        """How many trials are in this state. `charged`: how many count toward the budget; `training`: how many of those
        under way will; `recipes`: how many different recipes, that can work, were asked for."""
        return self._counts[mark]

    def twin(self, trial: Trial) -> Trial | None:
        """The first trial of the same recipe, if this is not it."""
        first = self._first[self._keys[trial.number]]
        return self._trials[first] if first < trial.number else None

    def knows(self, recipe: Recipe) -> bool:
        return recipe.key in self._first

    def trained_alike(self, trial: Trial) -> list[Trial]:
        """The trials with the same training, in the order of their numbers."""
        return [self._trials[number] for number in self._training.get(trial.recipe.trained.key, [])]

    def diverges(self, trial: Trial) -> str:
        """Why its training would diverge, if another trial began with the same and did: equal trainings are equal."""
        known = (self._diverged.get(stage.key) for stage in trial.recipe.stages if self._diverged)
        number = next((n for n in known if n is not None), None)
        return "" if number is None else f"it is trained like t{number:03d}, which failed: {self[number].reason}"

    def streak(self, wanted: Callable[[Trial], bool]) -> list[Trial]:
        """The latest trials in a row that are `wanted`, latest first. Those under way are not looked at."""
        found = []
        for trial in reversed(self._trials.values()):
            if trial.state != "running":
                if not wanted(trial):
                    break
                found.append(trial)
        return found

    def evaluated(self, latest: int = 0) -> list[Trial]:
        """The trials that began training and have ended, by number; `latest`: so many of the last ones only."""
        return [self._trials[number] for number in self._evaluated[-latest:]]

    def shown(self, number: int) -> Trial:
        """One trial, marked if it is on the front."""
        trial = self._trials[number]
        return replace(trial, front=True) if number in self.front else trial

    def marked(self) -> list[Trial]:
        """Every trial, those on the front marked."""
        front = self.front
        return [replace(t, front=True) if t.number in front else t for t in self._trials.values()]


def _marks(trial: Trial) -> list[str]:
    """What a trial is counted as."""
    marks: list[str] = [trial.state]
    if trial.charged:
        marks.append("charged")
    elif trial.state == "running" and trial.variant_of is None:
        marks.append("training")
    return marks
