"""Tokenised, labelled texts in batches of like length, padded no further than the longest of each batch."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

Batch = dict[str, Tensor]
Values = TypeVar("Values")  # tensors, or arrays

_COUNTED = 10_000  # rows at a time
_WINDOW = 50  # batches: 2 % of what short texts are read as is padding, of 16 batches 8 %
_NOT_INPUTS = {"labels", "index"}


def inputs(batch: Mapping[str, Values]) -> dict[str, Values]:
    """What the model reads: the batch without labels and row numbers."""
    return {name: tensor for name, tensor in batch.items() if name not in _NOT_INPUTS}


@dataclass(frozen=True)
class Corpus:
    """What the training texts are made of."""

    counts_V: Tensor  # how often each token id occurs
    lengths_N: Tensor  # tokens of each text, cut where the task cuts them
    special: frozenset[int]  # ids that stand for no part of a text, and those that others are made of
    mask: int | None = None  # the id that stands for a hidden token, if there is one

    @classmethod
    def of(cls, examples: Examples, ids: int, special: Iterable[int], mask: int | None = None) -> Corpus:
        """Count the tokens of examples, of which there are `ids` kinds."""
        rows = examples.fields["input_ids"]
        counts_V = torch.zeros(ids, dtype=torch.long)
        for at in range(0, len(rows), _COUNTED):
            tokens = torch.tensor([token for row in rows[at : at + _COUNTED] for token in row])
            counts_V += torch.bincount(tokens.long(), minlength=ids)
        return cls(counts_V, torch.tensor([len(row) for row in rows]), frozenset(special), mask)


@dataclass(frozen=True)
class Examples:
    """N rows. `fields` holds what the tokenizer gave, a list of token-level integers a row.

    Labels are one a row, or one of the fields where there is one for every token; or there are none.
    """

    fields: Mapping[str, Sequence[list[int]]]  # input_ids, attention_mask and perhaps token_type_ids
    labels: list[int] | None
    pad: dict[str, int]  # what fills each field up to the batch's longest text

    def __len__(self) -> int:
        return len(self.fields["input_ids"])

    def head(self, count: int) -> Examples:
        """The first `count` texts."""
        return self.of(list(range(min(count, len(self)))))

    def of(self, rows: list[int]) -> Examples:
        """The texts of these rows, in this order."""
        fields = {name: [values[row] for row in rows] for name, values in self.fields.items()}
        return Examples(fields, self.labels and [self.labels[row] for row in rows], self.pad)

    def batch(self, rows: list[int]) -> Batch:
        """Those rows as tensors: fields (B, T), labels (B,) or (B, T), index (B,) the row numbers."""
        length = max(len(self.fields["input_ids"][row]) for row in rows)
        out = {
            name: torch.tensor([v[row] + [self.pad[name]] * (length - len(v[row])) for row in rows])
            for name, v in self.fields.items()
        }
        asked = {} if self.labels is None else {"labels": torch.tensor([self.labels[row] for row in rows])}
        return out | asked | {"index": torch.tensor(rows)}

    def batches(self, size: int, *, seed: int | None = None) -> Iterator[Batch]:
        """All texts once. With a seed: shuffled, then bucketed by length so that little is padded; else in order."""
        rows = list(range(len(self)))
        for run in _cut(rows, size) if seed is None else self._bucketed(rows, size, random.Random(seed)):
            yield self.batch(run)

    def _bucketed(self, rows: list[int], size: int, rng: random.Random) -> list[list[int]]:
        """Sort by length inside windows of 50 batches, then shuffle whole batches: random enough, hardly padded.

        Texts that fill no batch are of any length, and come at any time: were they what the sorting leaves over, an
        epoch would end in its longest texts, always.
        """
        rng.shuffle(rows)
        window, batches = _WINDOW * size, list[list[int]]()
        for at in range(0, len(rows), window):
            run = sorted(rows[at : at + window], key=lambda row: len(self.fields["input_ids"][row]))
            begins = rng.randrange(len(run) // size + 1) * size
            ends = begins + len(run) % size
            batches += [*_cut(run[:begins], size), *_cut(run[begins:ends], size), *_cut(run[ends:], size)]
        rng.shuffle(batches)
        return batches


def _cut(rows: list[int], size: int) -> list[list[int]]:
    return [rows[at : at + size] for at in range(0, len(rows), size)]
