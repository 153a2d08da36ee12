"""What is evaluated of a training besides the recipe that it was for: others that differ only in what follows it.

A variant costs no training, but it is lowered, scored and timed, which takes seconds. So variants pay their way: those
of one training take a share of its seconds together (`search.variant_time`), those whose steps have led to the front
before come first, and one that could not come to the front even with the best score its training has had is not
scored at all.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from itertools import islice

from autocompress.engine.trial import Trial
from autocompress.engine.trial_table import TrialTable
from autocompress.space.recipe import Recipe
from autocompress.space.rungs import share_name
from autocompress.space.search_space import SearchSpace

_CANDIDATES = 128  # of one training that are compared
_LATEST = 200  # trials that what usually follows from some steps is learnt from


class Variants:
    """Of the trainings of one search, in the order in which they ended."""

    def __init__(self, space: SearchSpace, table: TrialTable) -> None:
        self._space, self._table = space, table
        self._due = deque(t for t in table if t.state == "complete" and t.charged)

    def follow(self, trial: Trial) -> None:
        """A training has ended well: its variants are due."""
        self._due.append(trial)

    def next(self) -> Recipe | None:
        """The next recipe that is trained already, was not tried yet, and is worth its time."""
        while self._due:
            parent = self._due[0]
            made = [t for t in self._table.trained_alike(parent) if t.variant_of == parent.number]
            if parent.recipe.trained and len(made) < self._space.search.variants and self._pays(parent, made):
                unknown = (r for r in self._space.variants(parent.params) if not self._table.knows(r))
                if best := self._most_promising(islice(unknown, _CANDIDATES)):
                    return best
            self._due.popleft()
        return None

    def lost(self, trial: Trial) -> str:
        """Why a variant, whose size and latency are known, cannot come to the front whatever it scores; or nothing."""
        alike = [t.measurement for t in self._table.trained_alike(trial) if t.state == "complete"]
        best = max((m.get("score_high", m["score"]) for m in alike), default=None)
        mine = trial.at_best
        if best is None or not self._space.goals.objectives.keys() <= {*mine, "score"}:
            return ""
        if not (better := self._table.beaten_by(mine | {"score": best})):
            return ""
        named = ", ".join(f"t{number:03d}" for number in sorted(better)[:3])
        return f"with the {best:.3f} that its training may be worth at best it loses to {named}"

    def _pays(self, parent: Trial, made: list[Trial]) -> bool:
        """Whether another one, which takes as long as those before, is within their share; one always is."""
        if not made:
            return True
        training = parent.rung_seconds.get(share_name(1.0)) or parent.seconds.get("train", 0.0)
        spent = sum(sum(t.seconds.values()) for t in made)
        return spent * (1 + 1 / len(made)) <= self._space.search.variant_time * training

    def _most_promising(self, candidates: Iterable[Recipe]) -> Recipe | None:
        """The one whose steps after the training were on the front most often; what was never tried in between."""
        front, tried = Counter[str](), Counter[str]()
        for trial in self._table.evaluated(_LATEST):
            if trial.state == "complete":
                tried[trial.recipe.tail.key] += 1
                front[trial.recipe.tail.key] += trial.number in self._table.front
        keyed = ((recipe, recipe.tail.key) for recipe in candidates)
        ranked = sorted(keyed, key=lambda each: -(front[each[1]] + 1) / (tried[each[1]] + 2))
        return ranked[0][0] if ranked else None
