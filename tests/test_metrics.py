"""Metrics have the values that scikit-learn gives."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn

from autocompress.data.metrics import METRICS

_THEIRS = {
    "accuracy": sklearn.accuracy_score,
    "macro_f1": lambda true, predicted: sklearn.f1_score(true, predicted, average="macro", zero_division=0),
    "mcc": sklearn.matthews_corrcoef,
}


def test_every_metric_is_compared() -> None:
    assert METRICS.keys() == _THEIRS.keys()


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("classes", [2, 5])
def test_random_predictions(name: str, classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 200)
    predicted = np.where(rng.random(200) < 0.6, labels, rng.integers(0, classes, 200))

    assert METRICS[name](predicted, labels) == pytest.approx(_THEIRS[name](labels, predicted))


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(
    ("labels", "predicted"),
    [([0, 1, 0, 1], [0, 0, 0, 0]), ([2, 2, 2], [2, 2, 2]), ([0, 1, 3], [3, 0, 1]), ([0, 4, 4], [0, 4, 0])],
    ids=["one prediction", "one label", "all wrong", "classes absent"],
)
def test_degenerate_cases(name: str, labels: list[int], predicted: list[int]) -> None:
    got = METRICS[name](np.array(predicted), np.array(labels))

    assert got == pytest.approx(_THEIRS[name](labels, predicted))
