"""A table of plain texts, drawn as rich draws its own, which takes a second for 500 rows: it styles every cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.box import HEAVY_HEAD
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

Row = Sequence[str]


class PlainTable:
    """For a console to print. What is too wide for it is wrapped, in the widest columns first."""

    def __init__(self, columns: Row, rows: Sequence[Row]) -> None:
        self._rows = [[cell.expandtabs() for cell in row] for row in (columns, *rows)]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        box = HEAVY_HEAD.substitute(options)
        natural = [max(map(_width, column)) for column in zip(*self._rows, strict=True)]
        widths = _fitted(natural, options.max_width - 3 * len(natural) - 1)
        framed = [width + 2 for width in widths]
        head, *body = ([_wrapped(*each, console) for each in zip(row, widths, strict=True)] for row in self._rows)
        yield Segment(f"{box.get_top(framed)}\n")
        for line in _lines(head, widths):
            yield Segment(f"{box.head_left} ")
            for place, cell in enumerate(line):
                yield Segment(f" {box.head_vertical} " if place else "")
                yield Segment(cell, Style(bold=True))
            yield Segment(f" {box.head_right}\n")
        yield Segment(f"{box.get_row(framed, 'head')}\n")
        lines = (f" {box.mid_vertical} ".join(line) for row in body for line in _lines(row, widths))
        yield Segment("".join(f"{box.mid_left} {line} {box.mid_right}\n" for line in lines))
        yield Segment(f"{box.get_bottom(framed)}\n")


def _width(cell: str) -> int:
    return max(map(cell_len, cell.split("\n")))


def _fitted(widths: list[int], room: int) -> list[int]:
    """The widths of columns that have so much room together. The widest give way, down to one sign."""
    widths = list(widths)
    while sum(widths) > max(room, len(widths)):
        widest = max(widths)
        widths[widths.index(widest)] -= 1
    return widths


def _wrapped(cell: str, width: int, console: Console) -> list[str]:
    """The lines of a cell."""
    if len(cell) <= width and cell.isascii() and "\n" not in cell:  # most are, and to wrap a text takes long
        return [cell]
    return [line.plain for line in Text(cell).wrap(console, width, overflow="ellipsis")]


def _lines(row: list[list[str]], widths: list[int]) -> Iterator[list[str]]:
    """The lines of a row, each cell as wide as its column."""
    for line in zip_longest(*row, fillvalue=""):
        yield [_padded(*each) for each in zip(line, widths, strict=True)]


def _padded(cell: str, width: int) -> str:
    return cell.ljust(width) if cell.isascii() else set_cell_size(cell, width)
