"""What every trial answered on the validation texts, so that two are compared text by text.

studies/<name>/answers/017.json    the number of the class that it gave to each text, in the texts' order
                       labels.json the right ones

Three bytes a text. It is read without the texts, the tokenizer or torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np

from autocompress.tasks.metrics import METRICS, without_each
from autocompress.trials.artefacts import Artefacts

_FOLDER, _LABELS = "answers", "labels"


def keep(artefacts: Artefacts, number: int, predicted_N: np.ndarray, labels_N: Sequence[int]) -> None:
    """Write down what a trial answered; known labels stay as they are."""
    if artefacts.read(_key(_LABELS)) is None:
        artefacts.write(_key(_LABELS), json.dumps(list(labels_N)))
    artefacts.write(_key(f"{number:03d}"), json.dumps(predicted_N.tolist()))


class Answers:
    """Of a study. Each trial's are read once."""

    def __init__(self, artefacts: Artefacts, metric: str) -> None:
        self._artefacts = artefacts
        self._metric = METRICS[metric]
        self._known: dict[int, tuple[float, np.ndarray] | None] = {}  # its score, and the scores without each text

    def difference(self, one: int, other: int) -> tuple[float, float] | None:
        """By how much `one` scores better than `other`, and the standard error of that; None if it is not known.

        The jackknife over texts, with both scored on the same: with N texts and d_i the difference without the i-th,
        the variance is (N - 1) / N * sum (d_i - mean d)^2. Efron & Tibshirani 1993, chapter 11. Where only one text
        is answered otherwise, difference and error are equal.
        """
        mine, theirs = self._of(one), self._of(other)
        if mine is None or theirs is None or mine[1].shape != theirs[1].shape:
            return None
        without_N = mine[1] - theirs[1]
        count = len(without_N)
        spread = float(((without_N - without_N.mean()) ** 2).sum())
        return mine[0] - theirs[0], math.sqrt((count - 1) / count * spread)

    def _of(self, number: int) -> tuple[float, np.ndarray] | None:
        if number not in self._known:
            texts = [self._artefacts.read(_key(name)) for name in (f"{number:03d}", _LABELS)]
            found = None
            if texts[0] is not None and texts[1] is not None:
                predicted_N, labels_N = (np.array(json.loads(text or "[]")) for text in texts)
                if predicted_N.shape == labels_N.shape and len(labels_N) > 1:
                    score = self._metric(predicted_N, labels_N)
                    found = score, without_each(self._metric, predicted_N, labels_N)
            self._known[number] = found
        return self._known[number]


def _key(name: str) -> str:
    return f"{_FOLDER}/{name}.json"
