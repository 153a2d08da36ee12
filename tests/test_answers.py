"""Two trials are compared on the same texts: known answers, and the jackknife against the textbook."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autocompress.space.settings import TaskSettings
from autocompress.tasks import kinds
from autocompress.tasks.metrics import METRICS
from autocompress.tasks.resampling import without_each
from autocompress.trials import answers
from autocompress.trials.answers import Answers
from autocompress.trials.artefacts import LocalArtefacts

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 60)
ONE, OTHER = (np.where(RNG.random(60) < 0.7, LABELS, RNG.integers(0, 3, 60)) for _ in range(2))


def compared(study: Path, metric: str, *predicted: np.ndarray) -> Answers:
    for number, each in enumerate(predicted):
        answers.keep(LocalArtefacts(study), number, each.tolist(), LABELS.tolist(), "abc")
    return Answers(LocalArtefacts(study), TaskSettings(data="none", metric=metric))


@pytest.mark.parametrize("metric", METRICS)
def test_the_score_without_each_text(metric: str) -> None:
    rows = np.arange(len(LABELS))
    expected = [METRICS[metric](ONE[rows != i], LABELS[rows != i]) for i in rows]
    kind = kinds.of(TaskSettings(data="none", metric=metric))
    every_NS = kind.statistics(ONE.tolist(), LABELS.tolist())
    assert without_each(kind.of_sums, every_NS) == pytest.approx(expected)


def test_for_accuracy_it_is_the_paired_standard_error(tmp_path: Path) -> None:
    gain_N = (ONE == LABELS).astype(float) - (OTHER == LABELS)
    gain, error = compared(tmp_path, "accuracy", ONE, OTHER).difference(0, 1) or (0, 0)
    assert gain == pytest.approx(gain_N.mean())
    assert error == pytest.approx(gain_N.std(ddof=1) / np.sqrt(60))


@pytest.mark.parametrize("metric", METRICS)
def test_it_is_what_the_bootstrap_gives(metric: str, tmp_path: Path) -> None:
    _, error = compared(tmp_path, metric, ONE, OTHER).difference(0, 1) or (0, 0)
    score, drawn = METRICS[metric], RNG.integers(0, 60, (2000, 60))
    gains = [score(ONE[rows], LABELS[rows]) - score(OTHER[rows], LABELS[rows]) for rows in drawn]
    assert error == pytest.approx(np.std(gains), rel=0.15)


@pytest.mark.parametrize("metric", METRICS)
def test_the_same_answers_are_no_difference_and_one_text_is_noise(metric: str, tmp_path: Path) -> None:
    almost = LABELS.copy()
    almost[7] = (almost[7] + 1) % 3
    known = compared(tmp_path, metric, LABELS, almost, LABELS)
    assert known.difference(0, 2) == pytest.approx((0, 0), abs=1e-12)
    gain, error = known.difference(0, 1) or (0, 0)
    assert gain > 0
    assert gain == pytest.approx(error, rel=0.1)


def test_what_is_not_known_is_not_compared(tmp_path: Path) -> None:
    known = compared(tmp_path, "accuracy", ONE)
    assert known.difference(0, 1) is None
    assert Answers(LocalArtefacts(tmp_path / "nowhere"), TaskSettings(data="none")).difference(0, 0) is None
