"""Run a study: the baseline, the trials, the finalists. One process at a time may."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from autocompress import anchors, cache, confirmation, disk, interrupts, left_out, measure, progress, undertrained
from autocompress.budget import Budget
from autocompress.coordinator import Coordinator
from autocompress.errors import AutocompressError, ConfigError, NothingFeasible
from autocompress.executors import Executor
from autocompress.executors.inline import InlineExecutor
from autocompress.executors.processes import ProcessExecutor
from autocompress.jobs import Job
from autocompress.ledger import BASELINE, Trial
from autocompress.observer import Observer
from autocompress.recipe import Recipe
from autocompress.scheduler import drive

if TYPE_CHECKING:
    from autocompress.study import Study


@dataclass(frozen=True)
class Limits:
    """What ends a search, and how much of the machine it takes. Left out: what the space says, or no limit."""

    trials: int | None = None  # that begin training, in all
    timeout: float = math.inf  # seconds of this run
    training_hours: float = math.inf  # of all trials together, over every resume
    workers: int = 1  # trials at once
    trial_timeout: float | None = None  # seconds after which a trial's job fails
    rule: str | None = None  # which finalists are confirmed


def run(study: Study, limits: Limits, observer: Observer, executor: Executor | None = None) -> str:
    """Search until a limit is reached. Says why it ended, if before its trials were done.

    `executor`, if given, is used instead of what the limits ask for, and closed. Raises `NothingFeasible` if nothing
    meets every constraint at the end.
    """
    with (
        interrupts.remembered(),
        disk.pausing(),
        held(study),
        contextlib.closing(executor or _executor(limits, observer)) as executor,
    ):
        _check_the_machine(study)
        study.store.finish_told()
        baseline = _measured_baseline(study, executor, observer)
        study.space.goals.check_baseline(baseline.measurement)
        space = left_out.searched(study, executor, observer)
        observer.finished(baseline)
        for anchor in anchors.tried_first(space):
            study.store.enqueue(space.locate(anchor))
        log = study.log(observer.note)
        coordinator = Coordinator(study.folder, space, study.store, baseline.measurement, observer, log.ended)
        with log:
            budget = _budget(study, limits)
            drive(coordinator.lives(budget), executor)
            _confirm(study, limits, budget, executor, observer)
            _doubt_the_baseline(study, baseline, observer)
            progress.write(study.progress, study.folder / progress.PROGRESS)
        spent = study.record.get("log_seconds", 0.0) + log.seconds
        cache.write_json(study.folder / "study.json", study.record | {"log_seconds": spent})
    if not study.front:
        early = f"{coordinator.ended_because}. " if coordinator.ended_because else ""
        raise NothingFeasible(early + study.relaxed())
    return coordinator.ended_because


def _budget(study: Study, limits: Limits) -> Budget:
    hours = limits.training_hours * 3600
    return Budget(
        limits.trials or study.space.search.trials,
        time.monotonic() + limits.timeout,
        hours,
        variants=study.space.search.variants,
    )


def _confirm(study: Study, limits: Limits, budget: Budget, executor: Executor, observer: Observer) -> None:
    """Down the front, while there is time, until a finalist keeps every limit.

    The first ones also after an early end: what is shown at the end is then as sure as can be.
    """
    confirm, done = study.space.search.confirm, set[int]()
    while confirm.top and study.front and not (done and budget.late()):
        left = [t for t in study.finalists(limits.rule).trials if t.number not in done]
        if not left:
            break
        drive(confirmation.lives(study.folder, left, confirm, observer), executor)
        done |= {t.number for t in left}
    confirmation.tidy(study.folder)


def _doubt_the_baseline(study: Study, baseline: Trial, observer: Observer) -> None:
    """Said once all trials are known, and finalists by the means of their seeds."""
    tuned = any("fine-tuned first" in note for note in study.record["baseline"].get("notes", []))
    advice = (
        "give the teacher another lr, or `epochs: auto` if it has a number of them" if tuned
        else "write `teacher: finetune` to have the checkpoint fine-tuned on these texts first"
    )  # fmt: skip
    said = undertrained.sentence(study.trials, study.confirmed, baseline.measurement, study.space.goals, advice)
    if said:
        observer.note(said)


@contextmanager
def held(study: Study) -> Iterator[None]:
    """One coordinator a study: the operating system's lock, which a killed process cannot leave behind."""
    lock, holder = FileLock(study.folder / "lock", timeout=0), study.folder / "holder.json"
    try:
        lock.acquire()
    except Timeout:
        who = json.loads(holder.read_text()) if holder.exists() else {}
        raise ConfigError(
            f"the study {study.name!r} is being searched by process {who.get('pid')} on {who.get('host')}. "
            "Wait for it, or stop it first."
        ) from None
    try:
        cache.write_json(holder, _whoami())
        yield
    finally:
        lock.release()


def _check_the_machine(study: Study) -> None:
    """Latencies of two machines are not compared."""
    then, now = study.record["machine"], measure.machine(study.space.target.device)
    if then != now:
        changed = ", ".join(f"{key} {then.get(key)!r} -> {now[key]!r}" for key in now if then.get(key) != now[key])
        raise ConfigError(
            f"the study {study.name!r} was measured on another machine ({changed}), and latencies of two machines "
            f"cannot be compared. Start one of its own here: autocompress search SPACE.yaml --study {study.name}-2"
        )


def _measured_baseline(study: Study, executor: Executor, observer: Observer) -> Trial:
    """Measured once in the life of the study."""
    if (known := study.baseline) is None:
        job = Job("baseline", str(study.folder))
        observer.begin(job)
        result = executor.submit(job).result()
        if result.failure:
            raise AutocompressError(f"the baseline failed: {result.failure.reason}\n{result.failure.traceback}")
        for note in result.notes:
            observer.note(note)
        measured = {"measurement": result.measurement, "seconds": result.seconds, "notes": list(result.notes)}
        cache.write_json(study.folder / "study.json", study.record | {"baseline": measured})
        known = Trial(BASELINE, "complete", Recipe(), measurement=result.measurement, seconds=result.seconds)
    return known


def _executor(limits: Limits, observer: Observer) -> Executor:
    """One worker is this process itself, unless it may have to be killed."""
    if limits.workers < 1:
        raise ConfigError(f"workers: must be at least 1. Got {limits.workers!r}.")
    if limits.workers == 1 and limits.trial_timeout is None:
        return InlineExecutor(observer.step)
    return ProcessExecutor(limits.workers, observer.step, limits.trial_timeout)


def _whoami() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname()}
