"""How long a search goes on: so many trained trials, so much time, so many hours of training, or until it is no use."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from autocompress.engine.trial_table import TrialTable

_MOST_REFUSED = 200  # in a row and nothing feasible yet: the limits cannot be met
_MOST_IDLE = 200  # in a row that trained nothing: what is left of the space is not worth looking for


@dataclass(frozen=True)
class Budget:
    """`trials` that begin training, over every resume; whatever ends first ends the search."""

    trials: int
    deadline: float = math.inf  # on the clock
    training_seconds: float = math.inf  # of the teacher, all trials and confirmations, over every resume
    other_seconds: float = 0.0  # that the teacher took, and trainings with other seeds before
    variants: int = 0  # trials that may follow from one training, and are no sign that nothing is left
    clock: Callable[[], float] = time.monotonic

    def met(self, table: TrialTable) -> bool:
        """Whether all of its trials have ended."""
        return table.count("charged") >= self.trials

    def late(self) -> bool:
        return self.clock() >= self.deadline

    @property
    def ends_at(self) -> float:
        """The deadline in seconds since 1970, which other processes know too."""
        return time.time() + self.deadline - self.clock()

    def waits(self, table: TrialTable) -> bool:
        """Whether those under way decide if another recipe is wanted: the budget is met exactly, by whoever is last."""
        full = table.count("charged") + table.count("training") >= self.trials
        return (full or self._hopeless(table)) and table.count("running") > 0

    def over(self, table: TrialTable, size: int | None) -> str:
        """Why the search ends before its trials are done, or nothing. `size`: how many recipes its space has."""
        if self.late():
            return "the time is up"
        if self.trained_out(table.training_seconds, self.other_seconds):
            return "the hours of training are used up"
        if size is not None and table.count("recipes") >= size:
            return f"the space is exhausted: all {size} of its recipes were tried"
        if self._hopeless(table) and not table.count("running"):
            return f"the last {_MOST_REFUSED} recipes were all refused before training"
        if self._idle(table) >= _MOST_IDLE:
            return f"the last {_MOST_IDLE} recipes left nothing new to train: each was refused or trained before"
        return ""

    def trained_out(self, trained_seconds: float, other_seconds: float) -> bool:
        """Whether the hours of training are used up: by the trials, and by the teacher and confirmation."""
        return trained_seconds + other_seconds >= self.training_seconds

    def repeats(self, table: TrialTable) -> int:
        """How many of the latest trials in a row were nothing new."""
        return len(table.streak(lambda t: t.state == "duplicate" or t.recipe.fault() is not None))

    def _idle(self, table: TrialTable) -> int:
        """How many of the latest trials in a row trained nothing, those not counted that follow from a training."""
        latest = table.streak(lambda t: not t.charged)
        made = Counter(t.variant_of for t in latest if t.state == "complete")
        return len(latest) - sum(min(count, self.variants) for count in made.values())

    def _hopeless(self, table: TrialTable) -> bool:
        refused = len(table.streak(lambda t: t.state == "refused"))
        return refused >= _MOST_REFUSED and not table.front
