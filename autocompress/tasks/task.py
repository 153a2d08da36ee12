"""The task: texts with labels in three splits, how they become numbers, and how predictions are scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from autocompress.errors import ConfigError
from autocompress.machine import cache
from autocompress.space.settings import TaskSettings
from autocompress.tasks.data.splits import Split, Texts, load_texts
from autocompress.tasks.dataset import Corpus, Examples
from autocompress.tasks.kind import TaskKind
from autocompress.tasks.ragged import Ragged
from autocompress.tasks.resampling import paired_interval
from autocompress.tasks.tokenization import padding

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from transformers import PreTrainedTokenizerBase


_WORTH_KEEPING = 2000  # rows
_PIECE = 10_000  # rows
_NOTE = "examples.json"


@dataclass(frozen=True, eq=False)
class Task:
    """Texts, labels, tokenizer and metric. A split is tokenised when first asked for: test, by the final judge."""

    settings: TaskSettings
    tokenizer: PreTrainedTokenizerBase
    texts: Texts

    def __post_init__(self) -> None:
        """The tokenizer is read before it is used: how long the last texts might be stays behind in it, and keys that
        depend on what was done before would have every process make its own teacher.
        """
        vars(self)["_tokenizer_file"] = self.tokenizer.backend_tokenizer.to_str()

    @classmethod
    def load(cls, settings: TaskSettings, tokenizer: PreTrainedTokenizerBase, seed: int, root: Path) -> Task:
        """Read the texts; relative paths start at `root`, splits are cut with `seed`. Raises `ConfigError`."""
        return cls(settings, tokenizer, load_texts(settings, seed, root))

    @property
    def kind(self) -> TaskKind:
        """How its rows are read, learnt and scored."""
        return self.texts.kind

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels' names, by their numbers."""
        return self.texts.labels

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of how the splits came about and which labels they have, a sentence each."""
        return (*self.texts.notes, self.texts.summary)

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

    def unlabelled(self, count: int) -> Examples:
        """At most `count` texts of those without labels."""
        return replace(self._examples(Split([*self.texts.unlabelled[:count]], [])), labels=None)

    @cached_property
    def corpus(self) -> Corpus:
        """What the training texts are made of. Tokens of one character are special: they spell what is not known."""
        tokens = self.tokenizer.get_vocab()
        special = {number for token, number in tokens.items() if len(token.removeprefix("##").lstrip("Ġ▁")) <= 1}
        special |= {*self.tokenizer.all_special_ids}
        return Corpus.of(self.train, max(tokens.values()) + 1, special, self.tokenizer.mask_token_id)

    @cached_property
    def fingerprint(self) -> str:
        """Equal fingerprints, equal batches: sha256 over texts, labels, their length in tokens, and tokenizer.

        What columns are called, where the texts lie and which metric scores them is no part of it.
        """
        texts = self.texts
        splits = (texts.train, texts.validation, texts.test)
        read = [texts.labels, [self.settings.kind, self.settings.max_length], *self._read_by]
        return _digest([[split.texts, split.labels] for split in splits], read)

    @cached_property
    def unlabelled_fingerprint(self) -> str:
        """Of the texts without labels, as `fingerprint` of those with labels."""
        return _digest([[[*self.texts.unlabelled]]], [self.settings.max_length, *self._read_by])

    @cached_property
    def _read_by(self) -> list[Any]:
        return [padding(self.tokenizer), vars(self)["_tokenizer_file"]]

    def score(self, logits: ArrayLike | Tensor, labels: Sequence[Any]) -> float:
        """The task's metric for the logits of so many rows; higher is better."""
        return self.kind.score(self.kind.answers(np.asarray(logits), {}), labels)

    def difference(self, ours: Sequence[Any], theirs: Sequence[Any], labels: Sequence[Any]) -> tuple[float, float]:
        """The 95 % interval of how much better the answers `ours` score than `theirs` on the same texts."""
        statistics = [self.kind.statistics(answers, labels) for answers in (ours, theirs)]
        return paired_interval(self.kind.of_sums, *statistics)

    def _examples(self, split: Split) -> Examples:
        """Tokenised once for all processes and searches, where that takes longer than to find it again."""
        if len(split.texts) < _WORTH_KEEPING:
            return self._tokenised(split)
        key = _digest([[split.texts, split.labels]], [self.settings.kind, self.settings.max_length, *self._read_by])
        folder = cache.folder("tokens", key, lambda draft: self._keep(split, draft))
        known = json.loads((folder / _NOTE).read_text())
        fields = {name: Ragged(folder, name) for name in known["pad"]}
        return Examples(fields, split.labels if known["labels"] else None, known["pad"])

    def _tokenised(self, split: Split) -> Examples:
        examples = self.kind.examples(self.tokenizer, split.texts, split.labels, self.settings.max_length)
        if wrong := self.kind.unusable(split.texts, examples):
            raise ConfigError(wrong)
        return examples

    def _keep(self, split: Split, folder: Path) -> None:
        """A piece at a time: as Python's numbers, tokens take ten times the memory."""
        for at in range(0, len(split.texts), _PIECE):
            examples = self._tokenised(split[at : at + _PIECE])
            for name, rows in examples.fields.items():
                Ragged.append(folder, name, rows)
        note = {"pad": examples.pad, "labels": examples.labels is not None}
        (folder / _NOTE).write_text(json.dumps(note))


def _digest(splits: list[list[list[Any]]], read: list[Any]) -> str:
    """sha256 of the JSON of all, a piece of the rows at a time: as one text they may be larger than the memory."""
    digest = hashlib.sha256(b"[[")
    for i, columns in enumerate(splits):
        digest.update(b", [" if i else b"[")
        for j, column in enumerate(columns):
            digest.update(b", [" if j else b"[")
            for at in range(0, len(column), _PIECE):
                digest.update((", " * bool(at) + json.dumps(column[at : at + _PIECE], sort_keys=True)[1:-1]).encode())
            digest.update(b"]")
        digest.update(b"]")
    digest.update(b"], " + json.dumps(read, sort_keys=True)[1:].encode())
    return digest.hexdigest()
