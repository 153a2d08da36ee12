"""Who may win a search: the front's first by the rule, judged by all that is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from autocompress.engine.front import rules
from autocompress.engine.trial import Trial
from autocompress.space.goals import Goals, Measurement


@dataclass(frozen=True)
class Finalists:
    """`known`: by number, the search's figures, those that were measured again in their place.

    A trial whose figures have `seeds` was trained with several of them. `top`: how many are to be confirmed; with 0
    the whole front stands as it was searched.
    """

    rule: str
    front: tuple[Trial, ...]
    known: Mapping[int, Measurement]
    goals: Goals
    baseline: Measurement
    top: int

    @cached_property
    def trials(self) -> list[Trial]:
        """The first `top` by the rule, then one after the other until one keeps every limit by what is known of it."""
        order = self._ranked({t.number: t.measurement for t in self.front})
        last = order[: self.top] if self.top else order
        for number in order[len(last) :]:
            if any(self._overshoot(self.known[n]) == 0 for n in last):
                break
            last.append(number)
        by_number = {t.number: t for t in self.front}
        return [by_number[number] for number in last]

    @property
    def winner(self) -> Trial:
        """The first by the rule: by the means over the seeds once all have them, else by the search's scores.

        Whoever breaks a limit comes after those who do not, the nearest first. So, once all are confirmed, does whoever
        may break the limit on the score, because its interval reaches over it.
        """
        last = {t.number: t for t in self.trials}
        confirmed = all("seeds" in self.known[n] for n in last)
        searched = {t.number: {} if confirmed else {"score": t.measurement["score"]} for t in self.front}

        def doubts(number: int) -> tuple[float, bool]:
            figures = self.known[number]
            least = figures | ({"score": figures["score_low"]} if confirmed else {})
            return self._overshoot(figures), self._overshoot(least) > 0

        order = self._ranked({number: self.known[number] | score for number, score in searched.items()})
        return last[min((number for number in order if number in last), key=doubts)]

    def _ranked(self, measured: Mapping[int, Measurement]) -> list[int]:
        return rules.ranked(self.rule, measured, tuple(self.goals.objectives))

    def _overshoot(self, figures: Measurement) -> float:
        return self.goals.overshoot(figures, self.baseline)
