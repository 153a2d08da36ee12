"""A sheet drawn as rich would draw it, which takes a second for 500 rows: it styles every cell.

No word is cut. What is too wide for the window is told in fewer parts (recipes) or wrapped between words; columns
that matter least go first, and a line below says which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from autocompress.report.terminal.sheet import JOIN, MORE, Cell, Column, Parts, Sheet, text

_GAP = 2  # signs between two columns
_ENOUGH = 40  # signs for a recipe: for less than that other columns go


class PlainTable:
    """For a console to print. `more`: what shows the columns that there is no room for."""

    def __init__(self, sheet: Sheet, more: str = "--json") -> None:
        self._sheet, self._more = sheet, more
        self._common = Counter(part for row in sheet.rows for cell in row if not isinstance(cell, str) for part in cell)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        kept, widths = self._layout(options.max_width)
        columns = [self._sheet.columns[place] for place in kept]
        heads = [_wrapped(column.name, width, console) for column, width in zip(columns, widths, strict=True)]
        for line in _lines(heads, columns, widths):
            yield Segment(f"{line}\n", Style(bold=True))
        yield Segment("─" * (sum(widths) + _GAP * (len(widths) - 1)) + "\n")
        for row, style in zip_longest(self._sheet.rows, self._sheet.styles[: len(self._sheet.rows)], fillvalue=""):
            cells = [self._shown(row[place], width) for place, width in zip(kept, widths, strict=True)]
            wrapped = [_wrapped(cell, width, console) for cell, width in zip(cells, widths, strict=True)]
            body = "".join(f"{line}\n" for line in _lines(wrapped, columns, widths))
            yield Segment(body, Style.parse(style) if style else None)
        for note in self._notes(kept, widths):
            yield from console.render(Text(note, "dim"), options)

    def _notes(self, kept: list[int], widths: list[int]) -> list[str]:
        gone = [column.name for place, column in enumerate(self._sheet.columns) if place not in kept]
        rows = self._sheet.rows
        cut = any(cell_len(text(row[place])) > width for row in rows for place, width in zip(kept, widths, strict=True)
                  if not isinstance(row[place], str))  # fmt: skip
        notes = [f"Left out: {', '.join(gone)}."] if gone else []
        notes += [f"{MORE} is for steps that many rows share."] if cut else []
        return [*self._sheet.notes, *([" ".join([*notes, f"A wider window or {self._more} shows all."])] * bool(notes))]

    def _layout(self, room: int) -> tuple[list[int], list[int]]:
        """The places of the columns that are shown, and their widths."""
        columns, rows = self._sheet.columns, self._sheet.rows
        cells = [[text(row[place]) for row in rows] for place in range(len(columns))]
        natural = [max(1, *map(_width, [column.name, *own])) for column, own in zip(columns, cells, strict=True)]
        least = [_least(column, own) for column, own in zip(columns, cells, strict=True)]
        smallest = max(map(cell_len, self._common), default=0) + cell_len(JOIN + MORE)
        short = list(least)
        for place in {place for row in rows for place, cell in enumerate(row) if not isinstance(cell, str)}:
            least[place], short[place] = min(natural[place], _ENOUGH), min(natural[place], smallest)
        kept = self._kept(least, room)
        widths = [[own[place] for place in kept] for own in (natural, least, short)]
        return kept, _fitted(*widths, room=room - _GAP * (len(kept) - 1))

    def _kept(self, least: Sequence[int], room: int) -> list[int]:
        """The columns that stay, and of the others what there is room for, the most important first."""
        columns = self._sheet.columns
        kept = [place for place, column in enumerate(columns) if not column.goes]
        for place in sorted(set(range(len(columns))) - set(kept), key=lambda place: -columns[place].goes):
            if sum(least[each] + _GAP for each in (*kept, place)) - _GAP <= room:
                kept.append(place)
        return sorted(kept)

    def _shown(self, cell: Cell, width: int) -> str:
        if isinstance(cell, str):
            return cell.expandtabs()
        return self._shortened(cell, width)

    def _shortened(self, parts: Parts, width: int) -> str:
        """With as many of its parts as there is room for. Those go first that most rows have."""
        left = list(parts)
        while cell_len(JOIN.join(left)) > width and len(left) > 1:
            left = [part for part in left if part != MORE]
            place = max(reversed(range(len(left))), key=lambda at: self._common[left[at]])
            left = [*left[:place], *left[place + 1 :], MORE]
        return JOIN.join(left)


def _least(column: Column, cells: Sequence[str]) -> int:
    """The width without which a word would be cut, or a cell wrapped that should be whole."""
    whole = column.figures or column.whole
    widths = [_width(cell) if whole else _longest_word(cell) for cell in cells]
    return max([_longest_word(column.name), *widths])


def _longest_word(cell: str) -> int:
    return max(map(cell_len, cell.split()), default=0)


def _width(cell: str) -> int:
    return max(map(cell_len, cell.expandtabs().split("\n")))


def _fitted(natural: list[int], least: list[int], short: list[int], *, room: int) -> list[int]:
    """The widths of columns that have so much room together. The widest give way: first down to what each should have
    at least, then recipes down to a part, then all.
    """
    widths = list(natural)
    for floors in (least, short, [1] * len(widths)):
        while sum(widths) > room:
            wider = [place for place, width in enumerate(widths) if width > floors[place]]
            if not wider:
                break
            widths[max(wider, key=lambda place: widths[place])] -= 1
    return widths


def _wrapped(cell: str, width: int, console: Console) -> list[str]:
    """The lines of a cell."""
    if len(cell) <= width and cell.isascii() and "\n" not in cell:  # most are, and to wrap a text takes long
        return [cell]
    return [line.plain for line in Text(cell).wrap(console, width, overflow="fold")]


def _lines(row: list[list[str]], columns: Sequence[Column], widths: Sequence[int]) -> Iterator[str]:
    """The lines of a row, each cell as wide as its column."""
    for line in zip_longest(*row, fillvalue=""):
        yield (" " * _GAP).join(_padded(*each) for each in zip(line, columns, widths, strict=True))


def _padded(cell: str, column: Column, width: int) -> str:
    if column.figures:
        return " " * (width - cell_len(cell)) + cell
    return cell.ljust(width) if cell.isascii() else set_cell_size(cell, width)
