"""Finalists, measured and trained again: the best of many is too good to be true.

The latency of each is measured again, in a process of its own, before anything else. Then each is trained with other
seeds.

The mean over the seeds judges a finalist. Its 95 % interval has two parts, added as variances: which texts the
validation split happens to hold (the mean of the seeds' paired intervals, since all are scored on the same texts), and
which seed was drawn (1.96 standard errors of the mean over the seeds).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from autocompress.engine.confirmed import TRAINED, keep, repeats
from autocompress.engine.events import Observer
from autocompress.engine.scheduler import Life
from autocompress.engine.trial import Trial
from autocompress.machine import fault_points
from autocompress.space.goals import Measurement
from autocompress.space.rungs import share_name
from autocompress.space.settings import Confirm
from autocompress.trials.artefacts import Artefacts, find, remeasured, trial_key
from autocompress.trials.job import Job, Kind, StudyData

REMAKE: tuple[Kind, ...] = ("train", "evaluate")


def lives(
    study: StudyData, trials: list[Trial], confirm: Confirm, observer: Observer,
    may_train: Callable[[], bool] = lambda: True,
) -> Iterator[Life]:  # fmt: skip
    """What is left to measure and train for these finalists. `may_train`: whether the budget has hours for it."""
    artefacts = find(study.artefacts)
    yield from (_remeasured(study, t, observer) for t in trials if not remeasured(artefacts, t.number))
    known = repeats(artefacts)
    for repeat in range(1, confirm.seeds):
        left = [t for t in trials if repeat not in known.get(t.number, {})]
        yield from (_life(study, artefacts, t, repeat, observer) for t in left if may_train())


def tidy(study: Path, artefacts: Artefacts) -> None:
    """Once all is confirmed: delete what a crash left of finalists that are none any more."""
    for left in (study / "trials").glob("*-*"):
        artefacts.drop(f"trials/{left.name}")


def _remeasured(study: StudyData, trial: Trial, observer: Observer) -> Life:
    """Made again first, if it came back to the front: what it had made was deleted when it left."""
    here = find(study.artefacts).get(f"{trial_key(trial.number)}/artefact") is not None
    for kind in ("remeasure",) if here else (*REMAKE, "remeasure"):
        job = Job(kind, study, trial.number, trial.recipe.dump())
        observer.begin(job)
        result = yield job
        if not result.trained:  # the time is up: it was put aside
            return
        if result.failure:
            break
    if result.failure:
        observer.unconfirmed(trial, 0, f"keeps the latency that the search measured: {result.failure.reason}")
    else:
        observer.remeasured(trial, result.measurement)


def _life(study: StudyData, artefacts: Artefacts, trial: Trial, repeat: int, observer: Observer) -> Life:
    measurement: Measurement = {}
    for kind in REMAKE:
        job = Job(kind, study, trial.number, trial.recipe.dump(), repeat=repeat)
        observer.begin(job)
        result = yield job
        if result.failure:
            reason = f"is not confirmed, it could not be trained again: {result.failure.reason}"
            observer.unconfirmed(trial, repeat, reason)
            artefacts.drop(trial_key(trial.number, repeat))
            return
        if not result.trained:  # the time is up: it was put aside
            return
        measurement |= result.measurement
        if (seconds := result.rung_seconds.get(share_name(1.0))) is not None:
            measurement[TRAINED] = seconds
    fault_points.point("confirmed")
    keep(artefacts, trial, repeat, measurement)
    artefacts.drop(trial_key(trial.number, repeat))
    observer.confirmed(trial, repeat, measurement)
