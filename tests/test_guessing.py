"""Answers that only guess are told from answers that know something, whatever the metric and the labels' shares."""

from __future__ import annotations

import numpy as np
import pytest

from autocompress.tasks.guessing import fault

NAMES = ("bad", "good")


def answers(labels_N: np.ndarray, right: float, seed: int = 0) -> np.ndarray:
    """Two classes: the share `right` of the texts of each is answered right."""
    wrong_N = np.random.default_rng(seed).random(len(labels_N)) > right
    return np.where(wrong_N, 1 - labels_N, labels_N)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "mcc"])
def test_who_knows_the_labels_does_not_guess(metric: str) -> None:
    labels_N = np.arange(64) % 2
    assert not fault(metric, labels_N, labels_N, NAMES)
    assert not fault(metric, answers(labels_N, 0.8), labels_N, NAMES)
    rare_N = (np.arange(400) % 20 == 0).astype(int)  # 5 in 100: hardly above the constant answer, and still no guess
    assert not fault(metric, answers(rare_N, 0.99), rare_N, NAMES)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "mcc"])
def test_a_constant_answer_and_labels_in_another_order_are_guesses(metric: str) -> None:
    labels_N = np.arange(64) % 2
    assert fault(metric, np.zeros(64, int), labels_N, NAMES)
    assert fault(metric, 1 - labels_N, labels_N, NAMES)
    ten_N = np.arange(400) % 10
    assert fault(metric, (ten_N + 1) % 10, ten_N, tuple("abcdefghij"))


def test_of_those_who_guess_hardly_one_in_twenty_passes() -> None:
    rng, labels_N = np.random.default_rng(1), np.arange(100) % 2
    passed = [not fault("mcc", rng.integers(0, 2, 100), labels_N, NAMES) for _ in range(400)]
    assert 0.01 < np.mean(passed) < 0.09


def test_the_sentences() -> None:
    labels_N = np.array([0, 0, 0, 1] * 16)
    assert fault("accuracy", np.zeros(64, int), labels_N, NAMES) == (
        "its accuracy is 0.750 on 64 validation texts, and 0.750 with the answer 'bad' to each"
    )
    mixed_N = np.array([0, 1] * 32)
    assert fault("mcc", np.array([0, 0, 1, 1] * 15 + [0, 1, 0, 1]), mixed_N, NAMES) == (
        "it is right on 64 validation texts in 53.1% of them, and shuffled answers would be in 50.0%"
    )
