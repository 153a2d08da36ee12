"""Finalists, measured and trained again: the best of many is too good to be true.

The latency of each is measured again, in a process of its own, before anything else. Then each is trained with other
seeds.

The mean over the seeds judges a finalist. Its 95 % interval has two parts, added as variances: which texts the
validation split happens to hold (the mean of the seeds' paired intervals, since all are scored on the same texts), and
which seed was drawn (1.96 standard errors of the mean over the seeds).
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import fmean, stdev

from autocompress.machine import cache, fault_points
from autocompress.search.events import Observer
from autocompress.search.scheduler import Life
from autocompress.search.trial import Measurement, Trial
from autocompress.space.rungs import share_name
from autocompress.space.settings import Confirm
from autocompress.trials.job import Job, Kind
from autocompress.trials.work import remeasured, trial_folder

REMAKE: tuple[Kind, ...] = ("train", "evaluate")
_FILE = "confirmed.json"
_TRAINED = "train_seconds"  # beside what was measured of a repeat

Repeats = dict[int, dict[int, Measurement]]  # trial -> repeat -> what was measured; repeat 0 is the trial itself


def repeats(study: Path) -> Repeats:
    """What is known so far."""
    file = study / _FILE
    known = json.loads(file.read_text()) if file.is_file() else {}
    return {int(number): {int(i): m for i, m in each.items()} for number, each in known.items()}


def training_seconds(study: Path) -> float:
    """What training with other seeds took so far, those that are not done apart."""
    return sum(m.get(_TRAINED, 0.0) for measured in repeats(study).values() for m in measured.values())


def lives(
    study: Path, trials: list[Trial], confirm: Confirm, observer: Observer,
    may_train: Callable[[], bool] = lambda: True,
) -> Iterator[Life]:  # fmt: skip
    """What is left to measure and train for these finalists. `may_train`: whether the budget has hours for it."""
    yield from (_remeasured(study, t, observer) for t in trials if not remeasured(study, t.number))
    known = repeats(study)
    for repeat in range(1, confirm.seeds):
        left = [t for t in trials if repeat not in known.get(t.number, {})]
        yield from (_life(study, t, repeat, observer) for t in left if may_train())


def tidy(study: Path) -> None:
    """Once all is confirmed: delete what a crash left of finalists that are none any more."""
    for left in (study / "trials").glob("*-*"):
        shutil.rmtree(left, ignore_errors=True)


def _remeasured(study: Path, trial: Trial, observer: Observer) -> Life:
    """Made again first, if it came back to the front: what it had made was deleted when it left."""
    here = (trial_folder(study, trial.number) / "artefact").exists()
    for kind in ("remeasure",) if here else (*REMAKE, "remeasure"):
        job = Job(kind, str(study), trial.number, trial.recipe.dump())
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


def _life(study: Path, trial: Trial, repeat: int, observer: Observer) -> Life:
    measurement: Measurement = {}
    for kind in REMAKE:
        job = Job(kind, str(study), trial.number, trial.recipe.dump(), repeat=repeat)
        observer.begin(job)
        result = yield job
        if result.failure:
            reason = f"is not confirmed, it could not be trained again: {result.failure.reason}"
            observer.unconfirmed(trial, repeat, reason)
            shutil.rmtree(trial_folder(study, trial.number, repeat), ignore_errors=True)
            return
        if not result.trained:  # the time is up: it was put aside
            return
        measurement |= result.measurement
        if (seconds := result.rung_seconds.get(share_name(1.0))) is not None:
            measurement[_TRAINED] = seconds
    fault_points.point("confirmed")
    known = repeats(study)
    known.setdefault(trial.number, {0: trial.measurement})[repeat] = measurement
    cache.write_json(study / _FILE, known)
    shutil.rmtree(trial_folder(study, trial.number, repeat), ignore_errors=True)
    observer.confirmed(trial, repeat, measurement)


def mean(measured: Mapping[int, Measurement]) -> Measurement:
    """The score of a finalist over its seeds, and how many there were."""
    scores = [m["score"] for m in measured.values()]
    score, error = fmean(scores), 1.96 * stdev(scores) / math.sqrt(len(scores))
    low, high = (fmean(m[f"score_{end}"] - m["score"] for m in measured.values()) for end in ("low", "high"))
    return {
        "score": score, "score_low": score - math.hypot(low, error), "score_high": score + math.hypot(high, error),
        "seeds": float(len(scores)),
    }  # fmt: skip


def figures(study: Path, front: list[Trial]) -> dict[int, Measurement]:
    """What each is judged by: the search's figures, replaced by those that were measured again."""
    known = repeats(study)
    means = {number: mean(measured) for number, measured in known.items() if len(measured) > 1}
    return {t.number: t.measurement | remeasured(study, t.number) | means.get(t.number, {}) for t in front}
