"""The task: texts with labels in three splits, how they become numbers, and how predictions are scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from autocompress.space.settings import TaskSettings
from autocompress.tasks.data.splits import Split, Texts, load_texts
from autocompress.tasks.dataset import Examples
from autocompress.tasks.metrics import METRICS, paired_interval
from autocompress.tasks.tokenization import encode, padding

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class Task:
    """Texts, labels, tokenizer and metric. A split is tokenised when first asked for: test, by the final judge."""

    settings: TaskSettings
    tokenizer: PreTrainedTokenizerBase
    texts: Texts

    @classmethod
    def load(cls, settings: TaskSettings, tokenizer: PreTrainedTokenizerBase, seed: int, root: Path) -> Task:
        """Read the texts; relative paths start at `root`, splits are cut with `seed`. Raises `ConfigError`."""
        return cls(settings, tokenizer, load_texts(settings, seed, root))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels' names, by their numbers."""
        return self.texts.labels

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of how the splits came about and which labels they have, a sentence each."""
        return (*self.texts.notes, self.texts.summary)

    @property
    def metric(self) -> str:
        return self.settings.metric

    @cached_property
    def train(self) -> Examples:
        return self._examples(self.texts.train)

    def train_head(self, count: int) -> Examples:
        """The first `count` training texts; no others are tokenised for them."""
        return self._examples(self.texts.train[:count])

    @cached_property
    def validation(self) -> Examples:
        return self._examples(self.texts.validation)

    @cached_property
    def test(self) -> Examples:
        return self._examples(self.texts.test)

    @cached_property
    def fingerprint(self) -> str:
        """Equal fingerprints, equal batches: sha256 over texts, labels, their length in tokens, and tokenizer.

        What columns are called, where the texts lie and which metric scores them is no part of it.
        """
        texts = self.texts
        rows = [[split.texts, split.labels] for split in (texts.train, texts.validation, texts.test)]
        read = [self.settings.kind, self.settings.max_length]
        parts = [rows, texts.labels, read, padding(self.tokenizer), self.tokenizer.backend_tokenizer.to_str()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def score(self, logits_NC: ArrayLike | Tensor, labels_N: Sequence[int]) -> float:
        """The task's metric for one row of logits a text; higher is better."""
        return self.metric_of(np.asarray(logits_NC).argmax(-1), labels_N)

    def metric_of(self, predicted_N: np.ndarray, labels_N: Sequence[int]) -> float:
        """The same for predicted labels."""
        return METRICS[self.settings.metric](predicted_N, np.asarray(labels_N))

    def difference(self, predicted_N: np.ndarray, others_N: np.ndarray, labels_N: Sequence[int]) -> tuple[float, float]:
        """The 95 % interval of how much better `predicted_N` scores than `others_N` on the same texts."""
        return paired_interval(METRICS[self.settings.metric], predicted_N, others_N, np.asarray(labels_N))

    def _examples(self, split: Split) -> Examples:
        fields = encode(self.tokenizer, split.texts, self.settings.max_length)
        return Examples(fields, split.labels, padding(self.tokenizer))
