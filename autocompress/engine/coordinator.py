"""The one writer: asks the store for recipes, sends jobs, decides what becomes of each trial, tells.

Size and latency are judged first, by a rehearsal; only recipes that meet those limits are trained, and only those that
began training are charged to the budget. Once a recipe is trained, others of the space that are trained alike, and
differ in what follows, are evaluated too, as its variants (see `front.variants`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from autocompress.engine.alerts import Alerts
from autocompress.engine.budget import Budget
from autocompress.engine.events import Observer
from autocompress.engine.front import stopping
from autocompress.engine.front.variants import Variants
from autocompress.engine.optuna.store import Store
from autocompress.engine.scheduler import Life
from autocompress.engine.trial import Trial, broken, repeated, with_result
from autocompress.engine.trial_table import TrialTable
from autocompress.machine import fault_points
from autocompress.space import predicted, rungs
from autocompress.space.goals import Measurement
from autocompress.space.language.steps import Params
from autocompress.space.search_space import SearchSpace
from autocompress.trials.answers import Answers
from autocompress.trials.artefacts import find, trial_key
from autocompress.trials.job import Job, Kind, Result, StudyData

_EXPLORE_AFTER = 5  # repeats in a row: draw at random for once

LifePart = Generator[Job | None, Result, Trial | None]  # a part of a life; in the end None: it goes no further


class Coordinator:
    """One run of a search, from the next trial to the end of its budget."""

    def __init__(
        self, study: StudyData, space: SearchSpace, store: Store, baseline: Measurement, observer: Observer,
        on_end: Callable[[Trial, TrialTable], object], clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`clock`: seconds; a simulation has its own."""
        self._study = study
        self._artefacts = find(study.artefacts)
        self._space = space
        self._store = store
        self._baseline = baseline
        self._observer = observer
        self._on_end = on_end
        self._clock = clock
        difference = Answers(self._artefacts, space.task).difference
        self.table = TrialTable(store.trials(), space.goals, difference)
        self._alerts = Alerts(self.table, observer)
        self._began = clock() - max((t.ended for t in self.table), default=0.0)
        self._echoes: list[Trial] = []  # repeats of trials that are under way, not told yet
        self._variants = Variants(space, self.table)
        self._training: set[str] = set()  # what trials under way are trained in, by its key
        self._shares: tuple[float, ...] = ()
        self._late: Callable[[], bool] = lambda: False
        self._watching = space.search.rungs == "watch"
        self.ended_because = ""
        for trial in self.table:
            self._tidy(trial)

    def lives(self, budget: Budget) -> Iterator[Life | None]:
        """The trials to run: those that an earlier process left unfinished, then new ones until the budget is met.

        None says: not now, it depends on the trials under way whether there is a next one.
        """
        self._shares = rungs.shares(self._space.search.rungs, max(budget.trials, self._space.search.trials))
        self._late = budget.late
        for trial in [t for t in self.table if t.state == "running"]:
            if not budget.late():
                yield from self._begin(trial)
        while True:
            if not budget.late() and (variant := self._variants.next()) is not None:
                yield from self._begin(self._asked(decided=self._space.locate(variant)))
            elif budget.met(self.table) or (reason := budget.over(self.table, self._space.size)):
                if budget.late() or not self.table.count("running"):
                    self.ended_because = "" if budget.met(self.table) else reason
                    return
                yield None
            elif budget.waits(self.table):
                yield None
            else:
                yield from self._begin(self._asked(explore=budget.repeats(self.table) >= self._patience))

    @property
    def _patience(self) -> int:
        """Repeats in a row. Each is written down, so there should not be many times as many as trials in the end."""
        return 1 if self.table.count("duplicate") > self.table.count("charged") else _EXPLORE_AFTER

    def _asked(self, *, explore: bool = False, decided: Params | None = None) -> Trial:
        asked = self._store.ask(self._space.sample, explore=explore, decided=decided)
        fault_points.point("asked")
        return self.table.keep(asked)

    def _begin(self, trial: Trial) -> Iterator[Life]:
        """The trial's life, unless its outcome is known already or will be with that of a trial under way."""
        twin = self.table.twin(trial)
        if fault := trial.recipe.fault() or (twin is None and self.table.diverges(trial)):
            self._end(replace(trial, state="refused", reason=fault))
        elif twin is None:
            yield self._live(self.table.keep(replace(trial, variant_of=self._trained_in(trial))))
        elif twin.state == "running":
            self._echoes.append(self.table.keep(repeated(trial, twin)))
        else:
            self._end(repeated(trial, twin))

    def _trained_in(self, trial: Trial) -> int | None:
        """The trial that was trained like this one, if there is one: then nothing is left to train, or to charge."""
        alike = self.table.trained_alike(trial) if trial.recipe.trained else []
        return next((t.number for t in alike if t.state == "complete" and t.charged), None)

    def _live(self, trial: Trial) -> Life:
        """One trial from rehearsal to measurement."""
        rehearsed = yield from self._rehearse(trial)
        ready = rehearsed and (yield from self._wait(rehearsed))
        if not ready:
            return
        own = {ready.recipe.trained.key} if ready.variant_of is None else set()
        self._training |= own
        try:
            if trained := (yield from self._train(ready)):
                yield from self._evaluate(trained)
        finally:
            self._training -= own

    def _wait(self, trial: Trial) -> LifePart:
        """Until no trial is trained alike at the same time, for both would train the same steps."""
        if trial.variant_of is not None or not trial.recipe.trained:
            return trial
        while trial.recipe.trained.key in self._training:
            self._observer.waits(trial)
            yield None
            if self._late():
                return None  # it stays under way
        return self._still(self.table.keep(replace(trial, variant_of=self._trained_in(trial))))

    def _rehearse(self, trial: Trial) -> LifePart:
        result = yield self._job("rehearse", trial)
        trial = with_result(trial, result)
        if result.failure:
            self._end(broken(trial, result, "refused"))
            return None
        judged = self._judged if result.measurement else self._foretold
        trial = judged(trial, result.measurement or result.predicted)
        return self._still(self.table.keep(trial))  # with what it measures: from now on it is one that trains

    def _still(self, trial: Trial) -> Trial | None:
        """The trial, unless what is known of it and of others by now says that it need not be trained."""
        lost = "" if trial.variant_of is None else self._variants.lost(trial)
        if reason := trial.reason or self.table.diverges(trial) or lost:
            self._end(replace(trial, state="refused", reason=reason))
            return None
        return trial

    def _train(self, trial: Trial) -> LifePart:
        """Rung by rung. A variant is trained already; should the cache have lost that, its evaluation trains it."""
        for share in () if trial.variant_of is not None else (*self._shares, 1.0):
            result = yield self._job("train", trial, share)
            known = replace(with_result(trial, result), rungs=result.rungs, rung_seconds=result.rung_seconds)
            trial = self.table.keep(known)
            if result.failure:
                self._end(broken(trial, result, "failed"))
                return None
            if result.trained:
                break
            if share == 1.0 or self._late():
                return None  # it was put aside, and stays under way
            if not self._watching and (reason := stopping.lost(trial, share, self.table, self._space.goals)):
                self._end(replace(trial, state="stopped", reason=reason))
                return None
        return trial

    def _evaluate(self, trial: Trial) -> LifePart:
        result = yield self._job("evaluate", trial)
        trial = with_result(trial, result)
        if result.failure:
            self._end(broken(trial, result, "failed"))
            return None
        if result.trained:  # else what the cache had lost was trained again, and put aside
            self._end(replace(self._judged(trial, trial.measurement), state="complete"))
        return None

    def _job(self, kind: Kind, trial: Trial, share: float = 1.0) -> Job:
        job = Job(kind, self._study, trial.number, trial.recipe.dump(), share)
        self._observer.begin(job)
        return job

    def _judged(self, trial: Trial, measurement: Measurement) -> Trial:
        """With its violations, as far as they are known, and every limit that it breaks as the reason."""
        violations = self._space.goals.violations(measurement, self._baseline)
        limits = {c.text: c for c in self._space.goals.constraints}
        broken = [(text, limits[text]) for text, violation in violations.items() if violation > 0]
        reason = "; ".join(
            f"{text}: {c.value(measurement):.4g}, the limit is {c.limit(self._baseline):.4g}" for text, c in broken
        )
        return replace(trial, violations=violations, reason=reason)

    def _foretold(self, trial: Trial, figures: Measurement) -> Trial:
        """The same of what was not measured: one limit is broken by all of its interval, or none by any of it."""
        goals, baseline = self._space.goals, self._baseline
        violations = goals.violations(predicted.middle(figures), baseline)
        reason = predicted.excesses(goals, figures, baseline)
        return replace(trial, predicted=figures, violations=violations, reason=reason)

    def _end(self, trial: Trial) -> None:
        """The outcome is written down before anything else happens."""
        before = set(self.table.front)
        trial = replace(trial, ended=self._clock() - self._began)
        self._store.tell(trial)
        fault_points.point("told")
        self.table.keep(trial)
        for number in {trial.number} | before - self.table.front:
            self._tidy(self.table[number])
        self._observer.finished(self.table.shown(trial.number))
        self._on_end(trial, self.table)
        fault_points.point("logged")
        if trial.state == "complete" and trial.charged:
            self._variants.follow(trial)
        for echo in [e for e in self._echoes if e.duplicate_of == trial.number]:
            self._echoes.remove(echo)
            self._end(repeated(echo, trial))
        self._alerts.see(trial)

    def _tidy(self, trial: Trial) -> None:
        """Of a trial that has ended, only one on the front keeps what it made."""
        if trial.state != "running" and trial.number not in self.table.front:
            self._artefacts.drop(trial_key(trial.number))
