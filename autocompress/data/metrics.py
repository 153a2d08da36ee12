"""How well predictions agree with labels. Higher is better in all of them, and 1 is perfect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def accuracy(predicted_N: Ints, labels_N: Ints) -> float:
    """Share of rows that are right."""
    return float(np.mean(predicted_N == labels_N))


def macro_f1(predicted_N: Ints, labels_N: Ints) -> float:
    """F1 of each class, averaged over the classes that occur as a label or a prediction."""
    confusion_CC = _confusion(predicted_N, labels_N)
    both_C = confusion_CC.sum(0) + confusion_CC.sum(1)
    occurs_C = both_C > 0
    return float(np.mean(2 * confusion_CC.diagonal()[occurs_C] / both_C[occurs_C]))


def mcc(predicted_N: Ints, labels_N: Ints) -> float:
    """Matthews' correlation of many classes (R_K of Gorodkin 2004). 0 if all labels or all predictions are alike."""
    confusion_CC = _confusion(predicted_N, labels_N).astype(float)
    true_C, predicted_C, rows = confusion_CC.sum(1), confusion_CC.sum(0), confusion_CC.sum()
    covariance = confusion_CC.trace() * rows - true_C @ predicted_C
    scale = np.sqrt(rows**2 - predicted_C @ predicted_C) * np.sqrt(rows**2 - true_C @ true_C)
    return float(covariance / scale) if scale > 0 else 0.0


Metric = Callable[[Ints, Ints], float]
METRICS: dict[str, Metric] = {"accuracy": accuracy, "macro_f1": macro_f1, "mcc": mcc}
_RESAMPLES = 1000


def paired_interval(metric: Metric, ours_N: Ints, theirs_N: Ints, labels_N: Ints) -> tuple[float, float]:
    """The 95 % interval of metric(ours) - metric(theirs), by resampling the texts with a fixed seed.

    Both are scored on the same texts, so what makes a text hard for both cancels. Efron 1979; for models: Koehn 2004.
    """
    rng, count = np.random.default_rng(0), len(labels_N)
    found = []
    for _ in range(_RESAMPLES):
        rows = rng.integers(0, count, count)
        found.append(metric(ours_N[rows], labels_N[rows]) - metric(theirs_N[rows], labels_N[rows]))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def without_each(metric: Metric, predicted_N: Ints, labels_N: Ints) -> NDArray[np.float64]:
    """The metric without the i-th text, (N,). Texts of one label and one answer count alike: N evaluations at most."""
    pairs_N2 = np.stack([labels_N, predicted_N], axis=1)
    _, first, which_N = np.unique(pairs_N2, axis=0, return_index=True, return_inverse=True)
    scores = [metric(np.delete(predicted_N, row), np.delete(labels_N, row)) for row in first]
    return np.array(scores)[which_N.reshape(-1)]


def _confusion(predicted_N: Ints, labels_N: Ints) -> NDArray[Any]:
    """Rows: the true class; columns: the predicted one."""
    classes = int(max(predicted_N.max(), labels_N.max())) + 1
    return np.bincount(labels_N * classes + predicted_N, minlength=classes**2).reshape(classes, classes)
