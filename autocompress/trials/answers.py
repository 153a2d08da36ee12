"""What every trial answered on the validation texts, so that two are compared text by text.

studies/<name>/answers/017.json    the number of the class that it gave to each text, in the texts' order
                       labels.json the right ones

Three bytes a text. It is read without the texts, the tokenizer or torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from autocompress.space.settings import TaskSettings
from autocompress.tasks import kinds
from autocompress.tasks.kind import Answer, Label, TaskKind
from autocompress.tasks.resampling import without_each
from autocompress.trials.artefacts import Artefacts

_FOLDER, _LABELS, _NAMES = "answers", "labels", "names"


def keep(
    artefacts: Artefacts, number: int, answered: Sequence[Answer], labels: Sequence[Label], names: Sequence[str]
) -> None:
    """Write down what a trial answered; known labels stay as they are."""
    if artefacts.read(_key(_LABELS)) is None:
        artefacts.write(_key(_NAMES), json.dumps(names))
        artefacts.write(_key(_LABELS), json.dumps(labels))
    artefacts.write(_key(f"{number:03d}"), json.dumps(answered))


class Answers:
    """Of a study. Each trial's are read once."""

    def __init__(self, artefacts: Artefacts, task: TaskSettings) -> None:
        self._artefacts, self._task = artefacts, task
        self._right: list[Any] | None = None
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
            answered, labels = self._read(f"{number:03d}"), self._labels
            found = None
            if answered and labels and len(answered) == len(labels) > 1:
                every_NS = self._kind.statistics(answered, labels)
                found = float(self._kind.of_sums(every_NS.sum(0))), without_each(self._kind.of_sums, every_NS)
            self._known[number] = found
        return self._known[number]

    @property
    def _labels(self) -> list[Any] | None:
        """Read once they are known: a search asks before its first trial has answered."""
        if self._right is None:
            self._right = self._read(_LABELS)
        return self._right

    @cached_property
    def _kind(self) -> TaskKind:
        return kinds.of(self._task, tuple(self._read(_NAMES) or ()))

    def _read(self, name: str) -> list[Any] | None:
        text = self._artefacts.read(_key(name))
        return None if text is None else json.loads(text)


def _key(name: str) -> str:
    return f"{_FOLDER}/{name}.json"
