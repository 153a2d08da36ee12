"""Metrics have the values that scikit-learn gives."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn

from autocompress.tasks.metrics import METRICS, one_answer

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


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("classes", [2, 4])
def test_one_answer_is_worth_the_largest_change_that_one_answer_makes(name: str, classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels = rng.choice(classes, 40, p=[0.9, *[0.1 / (classes - 1)] * (classes - 1)])
    predicted = np.where(rng.random(40) < 0.8, labels, rng.integers(0, classes, 40))
    score, changes = METRICS[name](predicted, labels), []
    for row in range(40):
        for answer in range(classes):
            changed = predicted.copy()
            changed[row] = answer
            changes.append(abs(METRICS[name](changed, labels) - score))

    worth = one_answer(name, predicted, labels, classes)
    assert worth == pytest.approx(max(changes))
    if name == "accuracy":
        assert worth == pytest.approx(1 / 40)
    else:
        assert worth > 2 / 40, "the rare classes weigh more"


@pytest.mark.parametrize("name", METRICS)
def test_an_answer_that_no_text_has_counts_too(name: str) -> None:
    labels = np.array([0, 0, 1, 1])
    changed = METRICS[name](np.array([2, 0, 1, 1]), labels)
    assert one_answer(name, labels, labels, 3) >= 1 - changed - 1e-12
    assert one_answer("macro_f1", labels, labels, 2) < one_answer("macro_f1", labels, labels, 3)
