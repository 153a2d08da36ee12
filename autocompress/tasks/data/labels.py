"""The rows of a split that have labels, and the labels' names: one spelling, one order, the same in every split."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from autocompress.errors import ConfigError
from autocompress.tasks.data.delimited import more
from autocompress.tasks.data.readers import Rows
from autocompress.tasks.kind import Row, TaskKind

_SHOWN = 20  # labels in a sentence
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True)
class Labelled:
    """N rows of one split that have a label."""

    origin: str
    texts: list[tuple[str, ...]]
    names: list[tuple[str, ...]]  # the labels of each
    rows: list[int]  # where each lies in its origin, from 1
    known: tuple[str, ...] = ()  # every label that the data has a name for, in its order


def labelled(rows: Rows, kind: TaskKind, notes: list[str]) -> Labelled:
    """The rows that have labels, as the kind of the task reads them; none if the split has no labels.

    Blanks around labels are taken off, and `notes` says so. Raises `ConfigError` for a row that cannot be used.
    """
    if not kind.labelled:
        return _without_labels(rows, kind, notes)
    label = kind.settings.label
    names = [_names(kind, cell, number, rows) for number, cell in enumerate(rows.columns[label], 1)]
    missing = [number for number, name in enumerate(names, 1) if None in name]
    if len(missing) == len(names) or set(names) == {("-1",)}:
        notes.append(f"{rows.origin} has no {'labels' if names else 'rows'} and is not used.")
        return Labelled(rows.origin, [], [], [])
    if missing and not rows.names:
        where = f"{len(missing)} without one in {rows.origin}, the first in row {missing[0]}"
        raise ConfigError(f"task.label: every row must have a label. Got {where}. Fill them in or leave them out.")
    if missing:  # -1 is how `datasets` marks rows on which the annotators did not agree
        notes.append(f"{rows.origin} has {len(missing)} rows without a label, which are not used.")
    _note_blanks(rows, label, notes)
    read = readable(rows, kind)
    kept = [
        (row, name, number) for number, (row, name) in enumerate(zip(read, names, strict=True), 1) if None not in name
    ]
    _check_counts(rows, kind, kept)
    texts_of, names_of, rows_of = (list(column) for column in zip(*kept, strict=True))
    return Labelled(rows.origin, texts_of, names_of, rows_of, rows.names)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Numbers by value, anything else by letters. The same for equal names, in whatever order they come."""
    every = sorted(set(names))
    return tuple(sorted(every, key=Decimal) if all(map(_NUMBER.fullmatch, every)) else every)


def check_known(splits: Mapping[str, Labelled]) -> None:
    """Raise `ConfigError`, a line a split, for labels that the training texts have not. The row is named."""
    known, wrong = {name for names in splits["train"].names for name in names}, []
    for split in splits.values():
        table = zip(split.names, split.rows, strict=True)
        odd = [(name, row) for names, row in table for name in names if name not in known]
        if odd:
            name, row = odd[0]
            wrong.append(
                f"task.label: every label must occur in the training texts. Got {name!r} in row {row} of "
                f"{split.origin}{more(len(odd), 'row')}. The labels of {splits['train'].origin}: {_listed(known)}."
            )
    if wrong:
        raise ConfigError("\n".join(dict.fromkeys(wrong)))
    if len(known) < 2:
        [only] = known
        where = f"{only!r} in all {len(splits['train'].rows)} rows of {splits['train'].origin}"
        raise ConfigError(f"task.label: must have two values or more in the training texts. Got {where}.")


def alike(names: Sequence[str]) -> list[str]:
    """A sentence for each pair of labels that a person would take for one."""
    first: dict[str, str] = {}
    said = []
    for name in names:
        twin = first.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), name)
        if twin != name:
            said.append(f"The labels {twin!r} and {name!r} look alike, and are two.")
    return said


def counted(labels: Sequence[str], numbers: Mapping[str, Sequence[int]]) -> str:
    """How many rows each label has in each split; `numbers` holds a split's labels, as indices into `labels`."""
    counts = {split: Counter(rows) for split, rows in numbers.items()}
    shown = [
        f"{name!r} ({', '.join(f'{split} {count[number]}' for split, count in counts.items())})"
        for number, name in enumerate(labels[:_SHOWN])
    ]
    rest = [f"and {len(labels) - _SHOWN} more"] if len(labels) > _SHOWN else []
    return f"There are {len(labels)} labels: {', '.join([*shown, *rest])}."


def _without_labels(rows: Rows, kind: TaskKind, notes: list[str]) -> Labelled:
    """All rows, of a kind that has no labels."""
    texts = readable(rows, kind)
    if not texts:
        notes.append(f"{rows.origin} has no rows and is not used.")
    return Labelled(rows.origin, texts, [()] * len(texts), list(range(1, len(texts) + 1)))


def _names(kind: TaskKind, cell: Any, number: int, rows: Rows) -> tuple[str | None, ...]:
    return kind.names(cell, lambda value: _name(value, number, rows, kind.settings.label))


def _name(value: Any, number: int, rows: Rows, column: str) -> str | None:
    """A label as text. None for null, blank text, NaN, and numbers that a `ClassLabel` has no name for."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float) and value.is_integer():  # whole numbers that went through a column with gaps
        value = int(value)
    if not isinstance(value, str | int):
        raise ConfigError(
            f"task.label: must be text or whole numbers. Got {value!r} in row {number} of {rows.origin}, "
            f"column {column!r}."
        )
    if rows.names and isinstance(value, int):
        return rows.names[value] if 0 <= value < len(rows.names) else None
    return str(value).strip()


def _note_blanks(rows: Rows, column: str, notes: list[str]) -> None:
    padded = [value for value in rows.columns[column] if isinstance(value, str) and value != value.strip()]
    if padded := [value for value in padded if value.strip()]:
        notes.append(
            f"The blanks around {len(padded)} labels of {rows.origin} are taken off: {padded[0]!r} is read as "
            f"{padded[0].strip()!r}."
        )


def readable(rows: Rows, kind: TaskKind) -> list[Row]:
    """What the kind reads in every row. Raises `ConfigError` with the first that it cannot."""
    columns = kind.settings.text
    if kind.one_column and len(columns) > 1:
        raise ConfigError(f"task.text: must be one column of {kind.one_column}. Got {' and '.join(columns)}.")
    for column in columns:
        bad = [(n, cell) for n, cell in enumerate(rows.columns[column], 1) if kind.row([cell]) is None]
        if bad:
            number, cell = bad[0]
            raise ConfigError(
                f"task.text: every row must have {kind.text_rule}. Got {cell!r} in row {number} of {rows.origin}, "
                f"column {column!r}, the first of {len(bad)} such rows. Fill them in or leave them out."
            )
    table = zip(*(rows.columns[column] for column in columns), strict=True)
    return [row for cells in table if (row := kind.row(cells)) is not None]


def _check_counts(rows: Rows, kind: TaskKind, kept: Sequence[tuple[Row, tuple[str | None, ...], int]]) -> None:
    """A row of words has as many labels."""
    for words, names, number in kept if kind.words else ():
        if len(words) != len(names):
            raise ConfigError(
                f"task.label: every word must have a label. Got {len(words)} words and {len(names)} labels in row "
                f"{number} of {rows.origin}."
            )


def _listed(names: Iterable[str]) -> str:
    ordered = in_order(names)
    return ", ".join(map(repr, ordered[:_SHOWN])) + (", ..." if len(ordered) > _SHOWN else "")
