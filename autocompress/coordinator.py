"""The one writer: asks the store for recipes, sends jobs, decides what becomes of each trial, tells.

Size and latency are judged first, by a rehearsal; only recipes that meet those limits are trained, and only those that
began training are charged to the budget.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from autocompress.errors import Paused
from autocompress.jobs import Job, Kind, Result
from autocompress.ledger import Measurement, State, Trial
from autocompress.observer import Observer
from autocompress.scheduler import Life
from autocompress.space import SearchSpace
from autocompress.store import Store
from autocompress.trial import trial_folder

CHARGED: tuple[State, ...] = ("complete", "stopped", "failed")
_MOST_REFUSED = 200  # in a row and nothing feasible yet: the limits cannot be met
_MOST_REPEATED = 300  # in a row: what is left of the space is not worth looking for
_EXPLORE_AFTER = 5  # repeats in a row: draw at random for once
_SUSPICIOUS_GAIN = 0.01  # of score over the baseline's
_MOST_FAILED = 5  # in a row: something is wrong with more than the recipes


class Coordinator:
    """One run of a search, from the next trial to the end of its budget."""

    def __init__(
        self, folder: Path, space: SearchSpace, store: Store, baseline: Measurement, observer: Observer,
        on_end: Callable[[list[Trial]], object],
    ) -> None:  # fmt: skip
        self._folder = folder
        self._space = space
        self._store = store
        self._baseline = baseline
        self._observer = observer
        self._on_end = on_end
        self._trials: dict[int, Trial] = {t.number: t for t in store.trials()}
        self._echoes: list[Trial] = []  # repeats of trials that are under way, not told yet
        self._cleared: set[int] = set()  # the trials whose folder is gone
        self.ended_because = ""
        self._doubted = False

    def lives(self, budget: int, deadline: float) -> Iterator[Life | None]:
        """The trials to run: those that an earlier process left unfinished, then new ones until the budget is met.

        None says: not now, it depends on the trials under way whether there is a next one.
        """
        for trial in [t for t in self._trials.values() if t.state == "running"]:
            yield from self._begin(trial)
        while self._may_go_on(budget, deadline):
            if self._must_wait(budget):
                yield None
            else:
                asked = self._store.ask(self._space.sample, explore=self._repeats() >= _EXPLORE_AFTER)
                yield from self._begin(self._keep(asked))

    def _begin(self, trial: Trial) -> Iterator[Life]:
        """The trial's life, unless its outcome is known already or will be with that of a trial under way."""
        if fault := trial.recipe.fault():
            self._end(replace(trial, state="refused", reason=fault))
        elif (twin := self._twin(trial)) is None:
            yield self._live(trial)
        elif twin.state == "running":
            self._echoes.append(self._keep(_repeated(trial, twin)))
        else:
            self._end(_repeated(trial, twin))

    def _live(self, trial: Trial) -> Life:
        """One trial from rehearsal to measurement."""
        result = yield self._job("rehearse", trial)
        trial = _with(trial, result)
        if result.failure:
            return self._end(_broken(trial, result, "refused"))
        violations = self._space.goals.violations(result.measurement, self._baseline)
        broken = [text for text, violation in violations.items() if violation > 0]
        if broken:
            return self._end(replace(trial, state="refused", violations=violations, reason=self._why(trial, broken)))
        self._keep(trial)  # with what it measures: from now on it is one that trains
        kinds: tuple[Kind, ...] = ("train", "evaluate")
        for kind in kinds:
            result = yield self._job(kind, trial)
            trial = _with(trial, result)
            if result.failure:
                return self._end(_broken(trial, result, "failed"))
        violations = self._space.goals.violations(trial.measurement, self._baseline)
        broken = [text for text, violation in violations.items() if violation > 0]
        self._end(replace(trial, state="complete", violations=violations, reason=self._why(trial, broken)))
        self._doubt_the_baseline(trial)
        return None

    def _job(self, kind: Kind, trial: Trial) -> Job:
        job = Job(kind, str(self._folder), trial.number, trial.recipe.dump())
        self._observer.begin(job)
        return job

    def _end(self, trial: Trial) -> None:
        """The outcome is written down before anything else happens."""
        self._store.tell(trial)
        self._keep(trial)
        marked = self.marked()
        for other in marked:  # a trial that leaves the front never comes back
            if other.state != "running" and not other.front and other.number not in self._cleared:
                shutil.rmtree(trial_folder(self._folder, other.number), ignore_errors=True)
                self._cleared.add(other.number)
        self._observer.finished(next(t for t in marked if t.number == trial.number))
        self._on_end(marked)
        for echo in [e for e in self._echoes if e.duplicate_of == trial.number]:
            self._echoes.remove(echo)
            self._end(_repeated(echo, trial))
        self._stop_a_losing_streak()

    def marked(self) -> list[Trial]:
        """Every trial, those on the front marked."""
        return mark_front(list(self._trials.values()), self._space)

    def _keep(self, trial: Trial) -> Trial:
        self._trials[trial.number] = trial
        return trial

    def _may_go_on(self, budget: int, deadline: float) -> bool:
        """Whether another recipe may be wanted, now or when those under way have ended."""
        if self._count(*CHARGED) >= budget:
            return False
        if time.monotonic() > deadline:
            return self._end_with("the time is up")
        tried = {t.recipe.key for t in self._trials.values() if t.recipe.fault() is None}
        if self._space.size is not None and len(tried) >= self._space.size:
            return self._end_with(f"the space is exhausted: all {len(tried)} of its recipes were tried")
        if self._repeats() >= _MOST_REPEATED:
            return self._end_with(f"the last {_MOST_REPEATED} recipes drawn had been seen before")
        if self._hopeless() and not self._count("running"):
            return self._end_with(f"the last {_MOST_REFUSED} recipes all broke a size or latency limit")
        return True

    def _must_wait(self, budget: int) -> bool:
        """Whether those under way decide if another recipe is wanted: the budget is met exactly, by whoever is last."""
        full = self._count(*CHARGED, "running") >= budget
        return (full or self._hopeless()) and self._count("running") > 0

    def _hopeless(self) -> bool:
        return self._streak("refused") >= _MOST_REFUSED and not any(t.feasible for t in self._trials.values())

    def _count(self, *states: State) -> int:
        return sum(t.state in states for t in self._trials.values())

    def _end_with(self, reason: str) -> bool:
        self.ended_because = reason
        return False

    def _twin(self, trial: Trial) -> Trial | None:
        """The first trial of the same recipe, if this is not it."""
        key = trial.recipe.key
        return next((t for t in self._trials.values() if t.number < trial.number and t.recipe.key == key), None)

    def _repeats(self) -> int:
        """How many of the latest trials in a row were nothing new."""
        return self._streak("duplicate", faulty=True)

    def _streak(self, state: State, *, faulty: bool = False) -> int:
        """How many of the latest trials in a row ended in this state. Those under way are not counted yet."""
        count = 0
        for trial in [t for t in reversed(self._trials.values()) if t.state != "running"]:
            if trial.state != state and not (faulty and trial.recipe.fault()):
                return count
            count += 1
        return count

    def _stop_a_losing_streak(self) -> None:
        charged = [t for t in self._trials.values() if t.state in CHARGED]
        if len(charged) >= _MOST_FAILED and all(t.state == "failed" for t in charged[-_MOST_FAILED:]):
            raise Paused(f"the last {_MOST_FAILED} trials failed, the latest with: {charged[-1].reason}")

    def _doubt_the_baseline(self, trial: Trial) -> None:
        """A compressed model is hardly ever better than a well trained one."""
        gain = trial.measurement["score"] - self._baseline["score"]
        if gain > _SUSPICIOUS_GAIN and not self._doubted:
            self._doubted = True
            self._observer.note(
                f"t{trial.number:03d} scores {gain:.3f} more than the baseline: the baseline is undertrained. "
                "Its `teacher: {finetune: ...}` wants more epochs or another lr."
            )

    def _why(self, trial: Trial, broken: list[str]) -> str:
        """`latency_ms <= 0.5 * baseline: 6.1, the limit is 4.2`, for every limit that is broken."""
        limits = {c.text: c for c in self._space.goals.constraints}
        found = [(text, limits[text]) for text in broken]
        return "; ".join(
            f"{text}: {c.value(trial.measurement):.4g}, the limit is {c.limit(self._baseline):.4g}" for text, c in found
        )


def mark_front(trials: list[Trial], space: SearchSpace) -> list[Trial]:
    """The same trials, with `front` set on those feasible ones that no other one beats."""
    front = space.goals.front({t.number: t.measurement for t in trials if t.feasible})
    return [replace(t, front=t.number in front) for t in trials]


def _with(trial: Trial, result: Result) -> Trial:
    """The trial, with what a job measured and how long it took."""
    return replace(trial, measurement=trial.measurement | result.measurement, seconds=trial.seconds | result.seconds)


def _broken(trial: Trial, result: Result, state: State) -> Trial:
    assert result.failure
    return replace(trial, state=state, reason=result.failure.reason, traceback=result.failure.traceback)


def _repeated(trial: Trial, twin: Trial) -> Trial:
    """Answered from memory: what was measured then, uncharged."""
    return replace(
        trial, state="duplicate", measurement=twin.measurement if twin.state == "complete" else {},
        violations=twin.violations, reason=f"the same recipe as t{twin.number:03d}", duplicate_of=twin.number,
    )  # fmt: skip
