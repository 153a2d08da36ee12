"""What finalists measured when they were trained with other seeds, and measured in a process of their own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from statistics import fmean, stdev

from autocompress.engine.trial import Trial
from autocompress.space.goals import Measurement
from autocompress.trials.artefacts import Artefacts, remeasured

_FILE = "confirmed.json"
TRAINED = "train_seconds"  # beside what was measured of a repeat

Repeats = dict[int, dict[int, Measurement]]  # trial -> repeat -> what was measured; repeat 0 is the trial itself


def repeats(artefacts: Artefacts) -> Repeats:
    """What is known so far."""
    known = json.loads(artefacts.read(_FILE) or "{}")
    return {int(number): {int(i): m for i, m in each.items()} for number, each in known.items()}


def keep(artefacts: Artefacts, trial: Trial, repeat: int, measurement: Measurement) -> None:
    """Write down what a trial measured with the `repeat`-th other seed."""
    known = repeats(artefacts)
    known.setdefault(trial.number, {0: trial.measurement})[repeat] = measurement
    artefacts.write(_FILE, json.dumps(known, indent=1))


def training_seconds(artefacts: Artefacts) -> float:
    """What training with other seeds took so far, those that are not done apart."""
    return sum(m.get(TRAINED, 0.0) for measured in repeats(artefacts).values() for m in measured.values())


def means(artefacts: Artefacts) -> dict[int, Measurement]:
    """The score of every trial that was trained with several seeds: their mean, its interval, how many."""
    return {number: mean(measured) for number, measured in repeats(artefacts).items() if len(measured) > 1}


def mean(measured: Mapping[int, Measurement]) -> Measurement:
    """The score of a finalist over its seeds, and how many there were."""
    scores = [m["score"] for m in measured.values()]
    score, error = fmean(scores), 1.96 * stdev(scores) / math.sqrt(len(scores))
    low, high = (fmean(m[f"score_{end}"] - m["score"] for m in measured.values()) for end in ("low", "high"))
    return {
        "score": score, "score_low": score - math.hypot(low, error), "score_high": score + math.hypot(high, error),
        "seeds": float(len(scores)),
    }  # fmt: skip


def figures(artefacts: Artefacts, front: list[Trial]) -> dict[int, Measurement]:
    """What each is judged by: the search's figures, replaced by those that were measured again."""
    known = means(artefacts)
    return {t.number: t.measurement | remeasured(artefacts, t.number) | known.get(t.number, {}) for t in front}
