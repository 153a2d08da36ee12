"""How well predictions agree with labels. Higher is better in all of them, and 1 is perfect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


Counts = NDArray[Any]  # (..., 3, C): of each class how many rows are right, how many have it as label, as prediction


def _accuracy(counts: Counts) -> NDArray[Any]:
    right, true, _ = np.moveaxis(counts, -2, 0)
    return np.asarray(right.sum(-1) / true.sum(-1))


def _macro_f1(counts: Counts) -> NDArray[Any]:
    right, true, predicted = np.moveaxis(counts, -2, 0)
    both = true + predicted
    f1 = np.divide(2 * right, both, out=np.zeros(both.shape), where=both > 0)
    return np.asarray(f1.sum(-1) / (both > 0).sum(-1))


def _mcc(counts: Counts) -> NDArray[Any]:
    right, true, predicted = np.moveaxis(counts.astype(float), -2, 0)
    rows = true.sum(-1)
    covariance = right.sum(-1) * rows - (true * predicted).sum(-1)
    scale = np.sqrt(rows**2 - (predicted**2).sum(-1)) * np.sqrt(rows**2 - (true**2).sum(-1))
    return np.asarray(np.divide(covariance, scale, out=np.zeros(scale.shape), where=scale > 0))


_OF_COUNTS: dict[str, Callable[[Counts], NDArray[Any]]] = {"accuracy": _accuracy, "macro_f1": _macro_f1, "mcc": _mcc}


def accuracy(predicted_N: Ints, labels_N: Ints) -> float:
    """Share of rows that are right."""
    return float(_accuracy(_counts(predicted_N, labels_N)))


def macro_f1(predicted_N: Ints, labels_N: Ints) -> float:
    """F1 of each class, averaged over the classes that occur as a label or a prediction."""
    return float(_macro_f1(_counts(predicted_N, labels_N)))


def mcc(predicted_N: Ints, labels_N: Ints) -> float:
    """Matthews' correlation of many classes (R_K of Gorodkin 2004). 0 if all labels or all predictions are alike."""
    return float(_mcc(_counts(predicted_N, labels_N)))


Metric = Callable[[Ints, Ints], float]
METRICS: dict[str, Metric] = {"accuracy": accuracy, "macro_f1": macro_f1, "mcc": mcc}


def statistics(metric: str, predicted_N: Ints, labels_N: Ints) -> NDArray[Any]:
    """(N, S): what each row adds to the sums that the metric is a function of."""
    right_N = predicted_N == labels_N
    if metric == "accuracy":
        return np.stack([right_N, np.ones_like(right_N)], axis=1).astype(int)
    classes = np.arange(int(max(predicted_N.max(), labels_N.max())) + 1)
    true_NC, predicted_NC = labels_N[:, None] == classes, predicted_N[:, None] == classes
    return np.concatenate([true_NC & predicted_NC, true_NC, predicted_NC], axis=1).astype(int)


def of_sums(metric: str, sums: NDArray[Any]) -> NDArray[Any]:
    """The metric of sums (..., S) of `statistics`."""
    if metric == "accuracy":
        return np.asarray(sums[..., 0] / sums[..., 1])
    return _OF_COUNTS[metric](sums.reshape(*sums.shape[:-1], 3, -1))


def one_answer(metric: str, predicted_N: Ints, labels_N: Ints, classes: int) -> float:
    """The most by which the metric changes if one of the N answers is another of the `classes`.

    Scores that are further apart differ in two answers or more. For the accuracy it is 1 / N.
    """
    score_of, counts_3C = _OF_COUNTS[metric], _counts(predicted_N, labels_N, classes)
    score, moved_CC, most = score_of(counts_3C), np.eye(classes, dtype=int), 0.0
    for label, answer in np.unique(np.stack([labels_N, predicted_N], axis=1), axis=0):
        changed_C3C = np.repeat(counts_3C[None], classes, axis=0)
        changed_C3C[:, 0, label] += moved_CC[:, label] - int(label == answer)
        changed_C3C[:, 2] += moved_CC - moved_CC[answer]
        most = max(most, float(np.abs(score_of(changed_C3C) - score).max()))
    return most


def _counts(predicted_N: Ints, labels_N: Ints, classes: int | None = None) -> Counts:
    classes = classes or int(max(predicted_N.max(), labels_N.max())) + 1
    columns = labels_N[predicted_N == labels_N], labels_N, predicted_N
    return np.stack([np.bincount(column, minlength=classes) for column in columns])
