"""Which columns of a table are texts and labels, told by their names and by what stands in them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from autocompress.errors import ConfigError
from autocompress.tasks.data.table_files import FORMATS, read_file

_LABELS = ("label", "labels", "class", "category", "target", "sentiment", "intent", "topic", "tags", "ner_tags", "y")
_PAIRS = (
    ("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"), ("question", "sentence"),
    ("question", "passage"), ("query", "document"), ("text1", "text2"), ("text_a", "text_b"),
)  # fmt: skip
_SIBLINGS = {"validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
_ROWS = 2000  # that are looked at
_CLASSES = 200  # a column with more values is none of labels


class Columns(NamedTuple):
    """As a space names them. `label` is "" where there is none: texts to be continued."""

    kind: str  # of task
    text: tuple[str, ...]
    label: str


def splits(train: str) -> str | dict[str, str]:
    """A training file with those beside it that are called as other splits are; a data set's name as it is."""
    file = Path(train)
    if file.suffix not in FORMATS:
        return train
    found = {"train": train}
    for split, names in _SIBLINGS.items():
        for name in names if "train" in file.stem else ():
            beside = file.with_name(file.name.replace("train", name))
            if beside.is_file():
                found.setdefault(split, str(beside))
    return found


def guess(file: Path, text: Sequence[str], label: str, kinds: Sequence[str]) -> Columns:
    """Of a file. What is given is kept. `kinds`: of tasks with one label a row, one a word, none; raises `ConfigError`.

    Texts are the longest words; labels are few and come again.
    """
    table = read_file("--data", file, label)
    for name in (*text, *([label] if label else [])):
        if name not in table:
            raise ConfigError(f"--data: {file} has no column {name!r}. Its columns: {', '.join(table)}.")
    if not text:
        text = next((pair for pair in _PAIRS if set(pair) <= set(table)), ())
    label = label or _label(table, text)
    text = text or _text(file, table, label)
    one_a_row, one_a_word, none = kinds
    lists = any(isinstance(value, list) for value in table[text[0]][:_ROWS])
    return Columns(one_a_word if lists else one_a_row if label else none, tuple(text), label)


def _label(table: dict[str, list[Any]], text: Sequence[str]) -> str:
    named = [name for name in table if name.lower() in _LABELS]
    if named:
        return min(named, key=lambda name: _LABELS.index(name.lower()))
    few = {
        name: len(set(map(str, values)))
        for name, values in table.items()
        if name not in text and 2 <= len(set(map(str, values))) <= min(_CLASSES, len(values) // 4)
    }
    return min(few, key=lambda name: few[name]) if few else ""


def _text(file: Path, table: dict[str, list[Any]], label: str) -> tuple[str, ...]:
    lengths = {
        name: statistics.fmean(len(str(value)) for value in values[:_ROWS])
        for name, values in table.items()
        if name != label and any(isinstance(value, str | list) and value for value in values[:_ROWS])
    }
    if not lengths:
        raise ConfigError(f"--data: {file} has no column of texts. Its columns: {', '.join(table)}. Name it: --text.")
    return (max(lengths, key=lambda name: lengths[name]),)
