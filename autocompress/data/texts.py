"""Raw texts and labels in three splits: checked, labels numbered, missing splits made up for, cut to the limits."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocompress.data.readers import Rows, read
from autocompress.errors import ConfigError
from autocompress.settings import TaskSettings

_CUT = 10  # a split that is missing is one in so many training texts


@dataclass(frozen=True)
class Split:
    """N rows: of each its one text or its two, and its label's number."""

    texts: list[tuple[str, ...]]
    labels: list[int]

    def __getitem__(self, rows: slice) -> Split:
        return Split(self.texts[rows], self.labels[rows])


@dataclass(frozen=True)
class Texts:
    """The three splits, the labels' names by number, and what a person should know of how the splits came about."""

    train: Split
    validation: Split
    test: Split
    labels: tuple[str, ...]
    notes: tuple[str, ...]


def load_texts(settings: TaskSettings, seed: int, root: Path) -> Texts:
    """Read the data that `settings` name; relative paths start at `root`. Equal seeds give equal splits.

    Every split is put into a fair order: any beginning of it has the labels in about their true shares. So a limit, and
    the first texts taken for calibration, are stratified samples. Raises `ConfigError` for what cannot be used.
    """
    notes: list[str] = []
    found = read(settings, root)
    named = {split: _labelled(rows, settings, notes) for split, rows in found.items()}
    named = {split: pair for split, pair in named.items() if pair[1]}
    if "train" not in named:
        raise ConfigError(f"task.label: the training texts must have labels. Got none in {found['train'].origin}.")
    every = {name for _, names in named.values() for name in names}
    labels = found["train"].names if every <= set(found["train"].names) else _in_order(every)
    numbers = {name: number for number, name in enumerate(labels)}
    splits = {split: _fair(texts, [numbers[name] for name in names], seed) for split, (texts, names) in named.items()}
    splits = _arranged(splits, notes)
    _check_labels(splits, labels)
    limits = {str(split): count for split, count in settings.limit.items()}
    limited = {split: rows[: limits.get(split)] for split, rows in splits.items()}
    return Texts(**limited, labels=labels, notes=tuple(notes))


def _labelled(rows: Rows, settings: TaskSettings, notes: list[str]) -> tuple[list[tuple[str, ...]], list[str]]:
    """The texts that have labels, and these labels' names. None of them if the split has no labels."""
    names = [_name(value, rows, settings.label) for value in rows.columns[settings.label]]
    missing = [number for number, name in enumerate(names, 1) if name is None]
    if len(missing) == len(names) or set(names) == {"-1"}:
        notes.append(f"{rows.origin} has no labels and is not used.")
        return [], []
    if missing and not rows.names:
        where = f"{len(missing)} without one in {rows.origin}, the first in row {missing[0]}"
        raise ConfigError(f"task.label: every row must have a label. Got {where}. Fill them in or leave them out.")
    if missing:  # -1 is how `datasets` marks rows on which the annotators did not agree
        notes.append(f"{rows.origin} has {len(missing)} rows without a label, which are not used.")
    _check_texts(rows, settings.text)
    pairs = zip(zip(*(rows.columns[column] for column in settings.text), strict=True), names, strict=True)
    kept = [(texts, name) for texts, name in pairs if name is not None]
    return [texts for texts, _ in kept], [name for _, name in kept]


def _name(value: Any, rows: Rows, column: str) -> str | None:
    """A label as text. None for null, the empty text, NaN, and numbers that a `ClassLabel` has no name for."""
    if value is None or value == "" or value != value:
        return None
    if isinstance(value, float) and value.is_integer():  # whole numbers that went through a column with gaps
        value = int(value)
    if not isinstance(value, str | int):
        raise ConfigError(
            f"task.label: must be text or whole numbers. Got {value!r} in column {column!r} of {rows.origin}."
        )
    if rows.names and isinstance(value, int):
        return rows.names[value] if 0 <= value < len(rows.names) else None
    return str(value)


def _check_texts(rows: Rows, columns: Sequence[str]) -> None:
    for column in columns:
        bad = [(n, v) for n, v in enumerate(rows.columns[column], 1) if not isinstance(v, str) or not v.strip()]
        if bad:
            number, value = bad[0]
            raise ConfigError(
                f"task.text: every row must have a text that is not empty. Got {value!r} in row {number} of "
                f"{rows.origin}, column {column!r}, the first of {len(bad)} such rows. Fill them in or leave them out."
            )


def _in_order(names: set[str]) -> tuple[str, ...]:
    """Whole numbers by size, anything else by letters."""
    numbers = all(re.fullmatch(r"-?\d+", name) for name in names)
    return tuple(sorted(names, key=int) if numbers else sorted(names))


def _fair(texts: list[tuple[str, ...]], labels: list[int], seed: int) -> Split:
    """Shuffle, then spread every label's rows evenly over the whole. One row of each label comes first of all."""
    rng, rows_of = random.Random(seed), defaultdict(list)
    for row, label in enumerate(labels):
        rows_of[label].append(row)
    places: list[tuple[float, float, int]] = []
    for label in sorted(rows_of):
        rng.shuffle(rows_of[label])
        count = len(rows_of[label])
        places += [
            ((rank + 0.5) / count if rank else 0.0, rng.random(), row) for rank, row in enumerate(rows_of[label])
        ]
    order = [row for *_, row in sorted(places)]
    return Split([texts[row] for row in order], [labels[row] for row in order])


def _arranged(splits: dict[str, Split], notes: list[str]) -> dict[str, Split]:
    """Train, validation and test, whichever of them there were. Training texts are cut off the end of a fair order."""
    splits = dict(splits)
    if "test" not in splits and "validation" in splits:
        splits["test"] = splits.pop("validation")
        notes.append("There is no labelled test split: the validation split is the test split.")
    for missing in ("test", "validation"):
        if missing not in splits:
            train = splits["train"]
            keep = len(train.labels) - max(1, len(train.labels) // _CUT)
            splits["train"], splits[missing] = train[:keep], train[keep:]
            notes.append(f"The {missing} split is {len(train.labels) - keep} of {len(train.labels)} training texts.")
    return splits


def _check_labels(splits: dict[str, Split], labels: tuple[str, ...]) -> None:
    known = set(splits["train"].labels)
    if len(known) < 2:
        raise ConfigError(f"task.label: must have two values or more in the training texts. Got {len(known)}.")
    for split in ("validation", "test"):
        unknown = sorted(set(splits[split].labels) - known)
        if unknown:
            where = f"{labels[unknown[0]]!r} only in the {split} split"
            raise ConfigError(f"task.label: every label must occur in the training texts. Got {where}.")
