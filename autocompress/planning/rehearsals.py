"""What comes of the recipes that a search would begin with, before any of them is trained."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from itertools import islice

from autocompress.errors import NotApplicable
from autocompress.planning.draws import draws
from autocompress.planning.untaught import Untaught
from autocompress.space import predicted
from autocompress.space.goals import Goals, Measurement
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace
from autocompress.trials.work import Work, rehearse

_RECIPES = 40  # at most
_SECONDS = 60.0  # after which no other one is begun

Say = Callable[[str], None]


class Rehearsals:
    """Every recipe is told from its structure or lowered and timed on the target, as the search will find it."""

    def __init__(self, bench: Untaught, space: SearchSpace, baseline: Measurement, say: Say) -> None:
        self.space = space
        self.seconds: list[float] = []  # that each took
        self.feasible: list[tuple[Recipe, Measurement]] = []  # they meet every limit that is known before training
        self.refused: Counter[str] = Counter()  # by limit, or by why they cannot be carried out
        self.nearest: dict[str, float] = {}  # of each limit the best figure
        self._bench, self._baseline = bench, baseline
        ends = time.monotonic() + _SECONDS
        for number, recipe in enumerate(islice(draws(space), _RECIPES)):
            if number and time.monotonic() >= ends:
                break
            say(f"rehearsing recipe {number + 1} of {_RECIPES} at most")
            began = time.perf_counter()
            self._one(recipe)
            self.seconds.append(time.perf_counter() - began)

    def _one(self, recipe: Recipe) -> None:
        try:
            done = rehearse(Work(self._bench, recipe, 0, lambda *_: None))
        except NotApplicable as e:
            self.refused[str(e)] += 1
            return
        measured = predicted.middle(done.predicted) | done.measurement
        known = Goals(self.space.objectives, self.space.goals.before_training)
        for limit in known.constraints:
            value = limit.value(measured)
            if value is None:  # it was not measured, for another limit is broken
                continue
            best = min if limit.sign == "<=" else max
            self.nearest[limit.text] = best(value, self.nearest.get(limit.text, value))
        broken = [text for text, excess in known.violations(measured, self._baseline).items() if excess > 0]
        self.refused.update(broken)
        if not broken:
            self.feasible.append((recipe, measured))
