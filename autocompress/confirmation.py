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
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean, stdev

from autocompress import cache, faults, selection
from autocompress.goals import Goals
from autocompress.jobs import Job, Kind
from autocompress.ledger import Measurement, Trial
from autocompress.observer import Observer
from autocompress.scheduler import Life
from autocompress.settings import Confirm
from autocompress.trial import remeasured, trial_folder

REMAKE: tuple[Kind, ...] = ("train", "evaluate")
_FILE = "confirmed.json"

Repeats = dict[int, dict[int, Measurement]]  # trial -> repeat -> what was measured; repeat 0 is the trial itself


def repeats(study: Path) -> Repeats:
    """What is known so far."""
    file = study / _FILE
    known = json.loads(file.read_text()) if file.is_file() else {}
    return {int(number): {int(i): m for i, m in each.items()} for number, each in known.items()}


def finalists(rule: str, front: list[Trial], goals: Goals, confirm: Confirm) -> list[Trial]:
    """The front's first by the rule."""
    order = selection.ranked(rule, {t.number: t.measurement for t in front}, tuple(goals.objectives))
    by_number = {t.number: t for t in front}
    return [by_number[number] for number in order[: confirm.top]]


def lives(study: Path, trials: list[Trial], confirm: Confirm, observer: Observer) -> Iterator[Life]:
    """What is left to measure and train for these finalists."""
    yield from (_remeasured(study, t, observer) for t in trials if not remeasured(study, t.number))
    known = repeats(study)
    for repeat in range(1, confirm.seeds):
        yield from (_life(study, t, repeat, observer) for t in trials if repeat not in known.get(t.number, {}))


def _remeasured(study: Path, trial: Trial, observer: Observer) -> Life:
    job = Job("remeasure", str(study), trial.number, trial.recipe.dump())
    observer.begin(job)
    result = yield job
    if result.failure:
        observer.note(f"{trial.label} keeps the latency that the search measured: {result.failure.reason}")
    else:
        observer.remeasured(trial, result.measurement)


def _life(study: Path, trial: Trial, repeat: int, observer: Observer) -> Life:
    measurement: Measurement = {}
    for kind in REMAKE:
        job = Job(kind, str(study), trial.number, trial.recipe.dump(), repeat=repeat)
        observer.begin(job)
        result = yield job
        if result.failure:
            observer.note(f"{trial.label} is not confirmed, it could not be trained again: {result.failure.reason}")
            shutil.rmtree(trial_folder(study, trial.number, repeat), ignore_errors=True)
            return
        measurement |= result.measurement
    faults.point("confirmed")
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


def winner(
    rule: str, front: list[Trial], known: Mapping[int, Measurement], goals: Goals, baseline: Measurement,
    confirm: Confirm, again: Mapping[int, Measurement] | None = None,
) -> Trial:  # fmt: skip
    """The first of the front by the rule; of the finalists by their means, once all of them are confirmed.

    `again`: the latencies that were measured again, which count instead of the search's. Whoever does not keep to the
    limits by these, or whose interval reaches over the limit on the score, comes after those who do.
    """
    every = {t.number: t for t in front}
    last = [t.number for t in finalists(rule, front, goals, confirm)]
    if not last or not all(number in known for number in last):
        last, known = list(every), {}
    measured = {n: t.measurement | (again or {}).get(n, {}) | known.get(n, {}) for n, t in every.items()}
    order = [n for n in selection.ranked(rule, measured, tuple(goals.objectives)) if n in last]
    return every[min(order, key=lambda n: not _feasible(measured[n], goals, baseline, surely=bool(known)))]


def _feasible(measurement: Measurement, goals: Goals, baseline: Measurement, *, surely: bool) -> bool:
    least = measurement | ({"score": measurement["score_low"]} if surely else {})
    return all(v <= 0 for v in goals.violations(least, baseline).values())
