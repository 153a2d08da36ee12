"""Models of single texts and models of pairs: what a pipeline is given must be what its model was trained on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from autocompress.errors import ConfigError, short

Text = str | tuple[str, str]


def checked_texts(texts: Sequence[Text], columns: Sequence[str]) -> list[Text]:
    """The texts, each pair as a tuple. `columns`: what the model's training data called its one text, or its two.

    Raises `ConfigError` for a single text where pairs are read, for a pair where single texts are, and for more texts.
    """
    found: list[Text] = []
    for text in texts:
        parts = tuple(text) if isinstance(text, tuple | list) else (text,)
        if len(parts) != len(columns):
            raise ConfigError(_mismatch(text, len(parts), columns))
        found.append(parts[0] if len(parts) == 1 else (parts[0], parts[1]))
    return found


def predict_line(folder: Path, columns: Sequence[str]) -> str:
    """The command that asks an exported model something of the form that it reads."""
    texts = '"some text"' if len(columns) == 1 else '--pair "some text" "another text"'
    return f"autocompress predict {shlex.quote(str(folder))} {texts}"


def _mismatch(text: object, count: int, columns: Sequence[str]) -> str:
    given = {1: "a single text", 2: "a pair"}.get(count, f"{count} texts")
    if len(columns) == 1:
        return f"this model reads single texts. Got {given}, {short(text)}. Give each text by itself."
    first, second = columns
    return (
        f"this model reads pairs of texts, {first} and {second}. Got {given}, {short(text)}. Give each pair as a "
        f"tuple, ({first}, {second}), or on the command line as --pair {first.upper()} {second.upper()}."
    )
