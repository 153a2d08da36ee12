"""Run a study: the baseline, the trials, the finalists. One process at a time may."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, replace
from itertools import takewhile

from autocompress.engine import confirmation, confirmed, identity, left_out, progress
from autocompress.engine.budget import Budget
from autocompress.engine.coordinator import Coordinator
from autocompress.engine.events import Journal, Observer
from autocompress.engine.front import attribution, undertrained
from autocompress.engine.scheduler import drive
from autocompress.engine.state import StudyState
from autocompress.engine.trial import Trial
from autocompress.errors import AutocompressError, ConfigError, NothingFeasible
from autocompress.machine import cache, disk, fingerprint, interrupts
from autocompress.space import anchors
from autocompress.space.recipe import Recipe
from autocompress.trials.executors.executor import Executor
from autocompress.trials.executors.inline import InlineExecutor
from autocompress.trials.executors.paying import Workers, paying
from autocompress.trials.job import BASELINE, Job

_NO_TIME = "the time is up before the baseline was measured. Its training goes on from there with the same command"


@dataclass(frozen=True)
class SearchLimits:
    """What ends a search, and how much of the machine it takes. Left out: what the space says, or no limit."""

    trials: int | None = None  # that begin training, in all
    timeout: float = math.inf  # seconds of this run, after which trainings are put aside and nothing is begun
    training_hours: float = math.inf  # of the teacher, all trials and confirmations together, over every resume
    workers: Workers = 1  # trials at once; auto: as many as pay here
    trial_timeout: float | None = None  # seconds of all of a trial's jobs in this run, after which it fails
    rule: str | None = None  # which finalists are confirmed
    attributes: bool = False  # the winner's recipe is replayed step by step


def run(
    study: StudyState, limits: SearchLimits, observer: Observer, journal: Journal, executor: Executor | None = None
) -> str:
    """Search until a limit is reached. Says why it ended, if before its trials were done.

    `journal`: keeps a copy of the study somewhere else. `executor`, if given, is used instead of what the limits ask
    for, and closed. Raises `NothingFeasible` if nothing meets every constraint at the end.
    """
    with (
        interrupts.remembered(),
        disk.pausing(),
        study.held(),
        contextlib.closing(executor or _executor(study, limits, observer)) as executor,
    ):
        _sweep(study)
        if study.baseline is not None:
            _check_the_machine(study)
        identity.settle(study, observer)
        study.store.finish_told()
        budget = _budget(study, limits)
        baseline = _measured_baseline(study, executor, observer, budget)
        budget = replace(budget, other_seconds=_other_seconds(study))
        study.space.goals.check_baseline(baseline.measurement)
        space = left_out.searched(study, executor, observer)
        observer.finished(baseline)
        for anchor in anchors.tried_first(space):
            study.store.enqueue(space.locate(anchor))
        coordinator = Coordinator(study.data, space, study.store, baseline.measurement, observer, journal.ended)
        with journal:
            drive(coordinator.lives(budget), executor, budget.ends_at)
            _confirm(study, limits, budget, executor, observer)
            _attribute(study, limits, budget, executor, observer)
            _doubt_the_baseline(study, baseline, observer)
            progress.write(study.progress, study.folder / progress.PROGRESS)
        spent = study.record.get("log_seconds", 0.0) + journal.seconds
        cache.write_json(study.folder / "study.json", study.record | {"log_seconds": spent})
    if not study.front:
        early = f"{coordinator.ended_because}. " if coordinator.ended_because else ""
        raise NothingFeasible(early + study.relaxed())
    return coordinator.ended_because


def _budget(study: StudyState, limits: SearchLimits) -> Budget:
    hours = limits.training_hours * 3600
    return Budget(
        limits.trials or study.space.search.trials,
        time.monotonic() + limits.timeout,
        hours,
        variants=study.space.search.variants,
    )


def _other_seconds(study: StudyState) -> float:
    """What training took besides that of trials: the teacher's, and with other seeds."""
    teacher = study.baseline.seconds.get("train", 0.0) if study.baseline else 0.0
    return teacher + confirmed.training_seconds(study.artefacts)


def _sweep(study: StudyState) -> None:
    """Delete what a killed search was writing. Whoever holds the study is the only one to write there."""
    for folder in (study.folder, study.folder / "answers", *(study.folder / "trials").glob("*")):
        study.artefacts.sweep(folder.relative_to(study.folder).as_posix())


def _confirm(study: StudyState, limits: SearchLimits, budget: Budget, executor: Executor, observer: Observer) -> None:
    """Down the front, while there is time, until a finalist keeps every limit.

    The first ones also after an early end, as far as the budget goes: what is shown is then as sure as can be.
    """

    def may_train() -> bool:
        trained = sum(t.seconds.get("train", 0.0) for t in study.trials)
        return not budget.trained_out(trained, _other_seconds(study))

    confirm, done = study.space.search.confirm, set[int]()
    while confirm.top and study.front and not (done and budget.late()):
        left = [t for t in study.finalists(limits.rule).trials if t.number not in done]
        if not left:
            break
        lives = confirmation.lives(study.data, left, confirm, observer, may_train)
        drive(takewhile(lambda _: not budget.late(), lives), executor, budget.ends_at)
        done |= {t.number for t in left}
    if may_train() and not budget.late():  # else what was put aside is gone on with by the next run
        confirmation.tidy(study.folder, study.artefacts)


def _attribute(study: StudyState, limits: SearchLimits, budget: Budget, executor: Executor, observer: Observer) -> None:
    """What each step of the winner gives and costs, as far as the time goes; `report` measures what is left."""
    if limits.attributes and study.front:
        lives = attribution.lives(study.data, study.best(limits.rule), observer)
        drive(takewhile(lambda _: not budget.late(), lives), executor, budget.ends_at)


def _doubt_the_baseline(study: StudyState, baseline: Trial, observer: Observer) -> None:
    """Said once all trials are known, and finalists by the means of their seeds."""
    tuned = any("fine-tuned first" in note for note in study.record["baseline"].get("notes", []))
    advice = (
        "give the teacher another lr, or `epochs: auto` if it has a number of them" if tuned
        else "write `teacher: finetune` to have the checkpoint fine-tuned on these texts first"
    )  # fmt: skip
    said = undertrained.sentence(study.trials, study.confirmed, baseline.measurement, study.space.goals, advice)
    if said:
        observer.note(said)


def _check_the_machine(study: StudyState) -> None:
    """Latencies of two machines are not compared."""
    then, now = study.record["machine"], fingerprint.machine(study.space.target.device)
    if then != now:
        changed = ", ".join(f"{key} {then.get(key)!r} -> {now[key]!r}" for key in now if then.get(key) != now[key])
        raise ConfigError(
            f"the study {study.name!r} was measured on another machine ({changed}), and latencies of two machines "
            f"cannot be compared. Start one of its own here: autocompress search SPACE.yaml --study {study.name}-2"
        )


def _measured_baseline(study: StudyState, executor: Executor, observer: Observer, budget: Budget) -> Trial:
    """Measured once in the life of the study. Raises `NothingFeasible` if the time is up before."""
    if (known := study.baseline) is None:
        if budget.late():
            raise NothingFeasible(_NO_TIME)
        job = Job("baseline", study.data, deadline=budget.ends_at)
        observer.begin(job)
        result = executor.submit(job).result()
        if result.failure:
            raise AutocompressError(f"the baseline failed: {result.failure.reason}\n{result.failure.traceback}")
        if not result.trained:
            raise NothingFeasible(_NO_TIME)
        for note in result.notes:
            observer.note(note)
        measured = {"measurement": result.measurement, "seconds": result.seconds, "notes": list(result.notes)}
        measured |= {"computes_in": result.computes_in} if result.computes_in else {}
        cache.write_json(study.folder / "study.json", study.record | {"baseline": measured})
        known = Trial(BASELINE, "complete", Recipe(), measurement=result.measurement, seconds=result.seconds)
    return known


def _executor(study: StudyState, limits: SearchLimits, observer: Observer) -> Executor:
    """One worker is this process itself, unless it may have to be killed."""
    if limits.workers == "auto":
        workers, why = paying(study.space, limits.trials or study.space.search.trials)
        if why:
            observer.note(why)
    elif (workers := limits.workers) < 1:
        raise ConfigError(f"workers: must be at least 1, or auto. Got {workers!r}.")
    if workers == 1 and limits.trial_timeout is None:
        return InlineExecutor(observer.step)
    from autocompress.trials.executors.processes import ProcessExecutor  # pebble

    return ProcessExecutor(workers, observer.step, limits.trial_timeout)
