"""How long trainings take: steps are timed on the task's own texts, once for each set of losses and schedules."""

from __future__ import annotations

import time

from autocompress.errors import NotApplicable
from autocompress.methods.early_stopping import CEILING, PATIENCE
from autocompress.planning.untaught import Untaught
from autocompress.space.method import Method
from autocompress.space.recipe import Recipe

_SECONDS = 45.0  # after which no other step is timed: what is left takes as long as the dearest


class Pace:
    """Of one bench."""

    def __init__(self, bench: Untaught) -> None:
        self._bench, self._ends = bench, time.monotonic() + _SECONDS
        self._known: dict[tuple[str, ...], float] = {}
        self._texts = len(bench.task.train)

    def step(self, training: Method, waiting: Recipe = Recipe()) -> float:  # noqa: B008 - it is frozen
        """Seconds of one step of the whole model, with what waits for it."""
        names = tuple(method.name for method in waiting)
        if names not in self._known:
            if self._known and time.monotonic() >= self._ends:
                return max(self._known.values())
            try:
                self._known[names] = self._bench.step_seconds(training, waiting)
            except NotApplicable:  # it wants a smaller model, or a step before it
                if not names:
                    raise
                self._known[names] = self.step(training)
        return self._known[names]

    def training(self, recipe: Recipe, share: float) -> float:
        """Seconds of all trainings of a recipe whose model still does a `share` of the multiplications.

        The student is taken to be faster by that share; what its teacher and its losses take stays as it is.
        """
        total, begin, factor = 0.0, 0, 1
        for at, method in enumerate(recipe):
            factor *= method.text_factor
            if method.trains:
                alone = self.step(method)
                joint = self.step(method, Recipe(m for m in recipe[begin:at] if m.pending))
                total += method.training_steps(factor * self._texts) * (alone * share + max(joint - alone, 0.0))
                begin, factor = at + 1, 1
        return total

    def teacher(self) -> tuple[float, float]:
        """Seconds at least and at most of the teacher's; nothing where a checkpoint is taken as given."""
        training = self._bench.teacher_training
        if training is None:
            return 0.0, 0.0
        most = training.training_steps(self._texts)
        until_flat = getattr(training, "epochs", None) == "auto"
        least = most * (PATIENCE + 2) / (CEILING + 1) if until_flat else most
        return least * self.step(training), most * self.step(training)
