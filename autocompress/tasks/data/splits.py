"""Raw texts and labels in three splits: checked, labels numbered, missing splits made up for, cut to the limits."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autocompress.errors import ConfigError
from autocompress.space.settings import TaskSettings
from autocompress.tasks import kinds
from autocompress.tasks.data.labels import Labelled, alike, check_known, counted, in_order, labelled, readable
from autocompress.tasks.data.readers import read, read_unlabelled
from autocompress.tasks.kind import Row, TaskKind

_CUT = 10  # a split that is missing is one in so many training texts


@dataclass(frozen=True)
class Split:
    """N rows: of each its one text, its two, or its words; and its label's number, or those of its words."""

    texts: list[tuple[str, ...]]
    labels: list[Any]

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
    kind: TaskKind = field(compare=False)
    unlabelled: tuple[Row, ...] = ()  # others, which no split has to answer for

    @property
    def rows(self) -> dict[str, int]:
        """How many each split has."""
        return {name: len(split.texts) for name, split in self._splits.items()}

    @property
    def _splits(self) -> dict[str, Split]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def summary(self) -> str:
        """The labels and how many rows each has in each split, as a sentence."""
        if not self.kind.labelled:
            return f"There are texts without labels: {', '.join(f'{name} {n}' for name, n in self.rows.items())}."
        return counted(self.labels, {name: _flat(split, self.kind) for name, split in self._splits.items()})


def load_texts(settings: TaskSettings, seed: int, root: Path) -> Texts:
    """Read the data that `settings` name; relative paths start at `root`. Equal seeds give equal splits.

    Every split is put into a fair order: any beginning of it has the labels in about their true shares. So a limit, and
    the first texts taken for calibration, are stratified samples. Raises `ConfigError` for what cannot be used.
    """
    notes: list[str] = []
    kind = kinds.of(settings)
    named = _named(kind, root, notes)
    if kind.labelled:
        check_known(named)
    known, used = named["train"].known, {name for names in named["train"].names for name in names}
    labels = known if used <= set(known) else in_order(used)
    notes += alike(labels)
    numbers = {name: number for number, name in enumerate(labels)}
    fair = {split: _fair(rows, kind, numbers, seed) for split, rows in named.items()}
    splits = _arranged(fair, notes, "labelled " * kind.labelled)
    if kind.stratified:
        _check_cut(fair["train"], splits["train"], labels, named["train"].origin)
    if not splits["train"].texts:
        raise ConfigError(
            f"task.data: {named['train'].origin} has too few rows to cut validation and test splits from: "
            f"{len(fair['train'].texts)}. Give more rows, or name files: {{validation: FILE, test: FILE}}."
        )
    limited = _limited(splits, kind)
    more = _unlabelled(kind, root, seed, limited, notes) if settings.unlabelled else ()
    return Texts(**limited, labels=labels, notes=tuple(notes), kind=kinds.of(settings, labels), unlabelled=more)


def _unlabelled(kind: TaskKind, root: Path, seed: int, splits: dict[str, Split], notes: list[str]) -> tuple[Row, ...]:
    """The texts of `task.unlabelled`, shuffled. None that a model is judged on: its teacher's answers are no secret."""
    rows = read_unlabelled(kind.settings, root)
    every = readable(rows, kind)
    judged = {*splits["validation"].texts, *splits["test"].texts}
    kept = [row for row in every if row not in judged]
    if not kept:
        raise ConfigError(f"task.unlabelled: must have texts that are not judged on. Got none in {rows.origin}.")
    same = f", {len(every) - len(kept)} of which are judged on and left out" if len(kept) < len(every) else ""
    notes.append(f"There are {len(every)} texts without labels{same}.")
    random.Random(seed).shuffle(kept)
    return tuple(kept)


def _named(kind: TaskKind, root: Path, notes: list[str]) -> dict[str, Labelled]:
    """The splits that have labels. The mistakes of all splits are raised at once."""
    named, wrong = {}, []
    for split, rows in read(kind.settings, root).items():
        try:
            named[split] = labelled(rows, kind, notes)
        except ConfigError as e:
            wrong.append(str(e))
    if wrong:
        raise ConfigError("\n".join(dict.fromkeys(wrong)))  # splits may be one file
    if not named["train"].rows:
        where = f"Got none in {named['train'].origin}."
        if not kind.labelled:
            raise ConfigError(f"task.data: there must be training texts. {where}")
        raise ConfigError(f"task.label: the training texts must have labels. {where}")
    return {split: rows for split, rows in named.items() if rows.rows}


def _limited(splits: dict[str, Split], kind: TaskKind) -> dict[str, Split]:
    limits = {str(split): count for split, count in kind.settings.limit.items()}
    limited = {split: rows[: limits.get(split)] for split, rows in splits.items()}
    if kind.stratified and (most := len(set(splits["train"].labels))) > len(set(limited["train"].labels)):
        raise ConfigError(f"task.limit.train: must be at least {most}, one text for each label. Got {limits['train']}.")
    return limited


def _flat(split: Split, kind: TaskKind) -> list[int]:
    """The labels of all rows, or of all words."""
    return [number for label in split.labels for number in kind.numbers(label)]


def _fair(rows: Labelled, kind: TaskKind, number_of: dict[str, int], seed: int) -> Split:
    """Shuffle, then spread every label's rows evenly over the whole. One row of each label comes first of all.

    Rows that have not one label each are shuffled only.
    """
    labels = [tuple(number_of[name] for name in names) for names in rows.names]
    rng, rows_of = random.Random(seed), defaultdict(list)
    for row, numbers in enumerate(labels):
        rows_of[numbers[0] if kind.stratified else 0].append(row)
    places: list[tuple[float, float, int]] = []
    for label in sorted(rows_of):
        rng.shuffle(rows_of[label])
        count = len(rows_of[label])
        places += [
            ((rank + 0.5) / count if rank else 0.0, rng.random(), row) for rank, row in enumerate(rows_of[label])
        ]
    order = [row for *_, row in sorted(places)]
    return Split([rows.texts[row] for row in order], [kind.label(labels[row]) for row in order])


def _arranged(splits: dict[str, Split], notes: list[str], usable: str) -> dict[str, Split]:
    """Train, validation and test, whichever of them there were. Training texts are cut off the end of a fair order."""
    splits = dict(splits)
    if "test" not in splits and "validation" in splits:
        splits["test"] = splits.pop("validation")
        notes.append(f"There is no {usable}test split: the validation split is the test split.")
    for missing in ("test", "validation"):
        if missing not in splits:
            train = splits["train"]
            keep = len(train.labels) - max(1, len(train.labels) // _CUT)
            splits["train"], splits[missing] = train[:keep], train[keep:]
            notes.append(f"The {missing} split is {len(train.labels) - keep} of {len(train.labels)} training texts.")
    return splits


def _check_cut(before: Split, after: Split, labels: tuple[str, ...], origin: str) -> None:
    """Of every label something must be left to train on once other splits are cut off."""
    if lost := sorted(set(before.labels) - set(after.labels)):
        raise ConfigError(
            f"task.data: {origin} has {len(before.labels)} rows for {len(set(before.labels))} labels, too few to cut "
            f"validation and test splits from: {len(after.labels)} would be left to train on, none with the label "
            f"{labels[lost[0]]!r}. Give more rows, or name files: {{validation: FILE, test: FILE}}."
        )
