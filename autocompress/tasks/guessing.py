"""Are these answers any better than guessing? Two questions: by the metric, and by what they tell of the labels."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from autocompress.tasks.metrics import METRICS, Ints

_ONE_SIDED = 1.645  # standard errors: of what only guesses, 1 in 20 comes so far


def fault(metric: str, predicted_N: Ints, labels_N: Ints, names: tuple[str, ...]) -> str:
    """Why these answers are no better than guessing, or nothing.

    They are, if they score no more than one and the same answer to every text, or if they agree with the labels no
    more often, beyond noise, than answers as frequent would that were dealt to the texts at random.
    """
    common = Counter(labels_N.tolist()).most_common(1)[0][0]
    constant = METRICS[metric](np.full_like(labels_N, common), labels_N)
    score = METRICS[metric](predicted_N, labels_N)
    texts = f"on {len(labels_N)} validation texts"
    if score <= constant:
        return f"its {metric} is {score:.3f} {texts}, and {constant:.3f} with the answer {names[common]!r} to each"
    agreed, by_chance, error = _agreement(predicted_N, labels_N)
    if agreed - by_chance <= _ONE_SIDED * error:
        return f"it is right {texts} in {agreed:.1%} of them, and shuffled answers would be in {by_chance:.1%}"
    return ""


def _agreement(predicted_N: Ints, labels_N: Ints) -> tuple[float, float, float]:
    """The share of right answers, that of shuffled ones, and its standard error.

    Fleiss, Cohen & Everitt 1969, "Large sample standard errors of kappa and weighted kappa".
    """
    classes, count = int(max(predicted_N.max(), labels_N.max())) + 1, len(labels_N)
    p_C, q_C = (np.bincount(each, minlength=classes) / count for each in (predicted_N, labels_N))
    by_chance = float(p_C @ q_C)
    variance = (by_chance + by_chance**2 - float(p_C * q_C @ (p_C + q_C))) / count
    return float(np.mean(predicted_N == labels_N)), by_chance, math.sqrt(max(variance, 0.0))
