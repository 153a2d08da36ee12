"""A table as data: what stands in it, and what may go where the window is narrow. The command line draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Parts = tuple[str, ...]  # of a recipe: where there is no room for all, those go first that most rows share
Cell = str | Parts
JOIN, MORE = " + ", "…"


class Column(NamedTuple):
    """Where the window is narrow its head is wrapped, and so are its cells unless they are `whole`."""

    name: str
    figures: bool = False  # flush right, and whole
    whole: bool = False
    goes: int = 0  # the column that goes first has the lowest number; 0: it stays


@dataclass(frozen=True)
class Sheet:
    """Rows of cells, a style of rich's for each row if it has one, and notes below."""

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]
    styles: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)


def text(cell: Cell) -> str:
    """All of it."""
    return cell if isinstance(cell, str) else JOIN.join(cell)
