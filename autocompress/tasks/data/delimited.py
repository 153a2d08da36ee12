"""Tables in .csv and .tsv files, read whole or refused: no quote swallows the rows after it without a word.

In a .csv file a field that begins with a quote ends with one, and quotes inside it are doubled (RFC 4180). A .tsv file
is read so if its quotes allow it; else without quoting, which is how many are written, if every line then fits the
header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyarrow.csv import InvalidRow

DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LINE_END = re.compile(rb"\r\n|\r|\n")
_BLOCK_BYTES = 1 << 26  # no row may be longer
_SAVE = "Mend the quote, or save the table as .jsonl or .parquet"


def read_delimited(file: Path) -> dict[str, list[Any]]:
    """Every column of a .csv or .tsv file as texts: "NA", "null" and "01" stay what they are.

    Raises `ValueError`, which names the row (counted from 1 after the header, without blank lines) where there is one.
    """
    from pyarrow import BufferReader, csv, string

    body, delimiter = utf8(file.read_bytes()), DELIMITERS[file.suffix]
    if not body.strip():
        raise ValueError("it is empty")
    quote, wrong = _quote(body, delimiter.encode()), list["InvalidRow"]()

    def skip(row: InvalidRow) -> str:
        wrong.append(row)
        return "skip"

    parse = csv.ParseOptions(
        delimiter=delimiter, quote_char=quote, newlines_in_values=bool(quote), invalid_row_handler=skip
    )
    one_thread = csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES)  # it alone knows the rows' numbers
    names = csv.open_csv(BufferReader(body), one_thread, parse).schema.names
    _check_header(names)
    wrong.clear()
    as_texts = csv.ConvertOptions(column_types=dict.fromkeys(names, string()), strings_can_be_null=False)
    table = csv.read_csv(BufferReader(body), one_thread, parse, as_texts)
    if wrong:
        first, s = wrong[0], "s" * (wrong[0].actual_columns != 1)
        fields = f"{first.actual_columns} field{s}, the header has {first.expected_columns}"
        raise ValueError(f"row {first.number - 1} has {fields}{more(len(wrong), 'row')}")
    columns: dict[str, list[Any]] = table.to_pydict()
    return columns


def check_swallowed(columns: dict[str, list[Any]], label: str, delimiter: str) -> None:
    """Raise `ValueError` for a field whose lines are rows of their own: two quotes of two rows that look like a pair.

    A line is taken for a row if it has as many fields as the header and a label that other rows have too.
    """
    names, labels = list(columns), set(columns[label]) - {""}
    for name, column in columns.items():
        for number, value in enumerate(column, 1):
            if "\n" in value or "\r" in value:
                lines = re.split(r"\r\n|\r|\n", value)
                rows = _as_rows([line.split(delimiter) for line in lines], names.index(name), len(names))
                if not labels.isdisjoint(row[names.index(label)] for row in rows):
                    raise ValueError(f"row {number} seems to hold {len(lines)} rows between two quotes. {_SAVE}")


def _as_rows(lines: list[list[str]], place: int, width: int) -> list[list[str]]:
    """Those lines of a field of column `place` that have the fields of a row; what lies outside the field is ""."""
    first, last = [""] * place + lines[0], lines[-1] + [""] * (width - place - 1)
    return [row for row in (first, *lines[1:-1], last) if len(row) == width]


def utf8(body: bytes) -> bytes:
    """Without a byte order mark. Raises `ValueError`, which names the line, for another encoding."""
    try:
        body.decode()
    except UnicodeDecodeError as e:
        line = len(_LINE_END.findall(body, 0, e.start)) + 1
        raise ValueError(f"line {line} is not UTF-8. Save it with the encoding UTF-8") from None
    return body.removeprefix(b"\xef\xbb\xbf")


def _quote(body: bytes, delimiter: bytes) -> str | bool:
    """The quoting character, or False for none."""
    fields = list(_quoted(body, delimiter))
    broken = next((start for start, end in fields if end is None), None)
    if broken is None:
        return '"'
    doubled = any(end and b'""' in body[start + 1 : end - 1] for start, end in fields)
    lines = [line for line in _LINE_END.split(body) if line]
    fit = all(line.count(delimiter) == lines[0].count(delimiter) for line in lines)
    if delimiter == b"\t" and fit and not doubled:
        return False
    raise ValueError(
        f"in {_place(body, broken, delimiter)} a field begins with a quote and does not end with one. {_SAVE}"
    )


def _quoted(body: bytes, delimiter: bytes) -> Iterator[tuple[int, int | None]]:
    """Where each field that begins with a quote starts and ends; None if no quote ends it before the next field."""
    begins = re.compile(rb'(?<![^\r\n%b])"' % delimiter)
    whole = re.compile(rb'"(?:[^"]++|"")*+"(?=[\r\n%b]|\Z)' % delimiter)
    at = 0
    while found := begins.search(body, at):
        end = match.end() if (match := whole.match(body, found.start())) else None
        yield found.start(), end
        at = end or found.end()


def _place(body: bytes, at: int, delimiter: bytes) -> str:
    """The row and the line of a position before which every quote is closed."""
    before = re.sub(rb'(?<![^\r\n%b])"(?:[^"]++|"")*+"' % delimiter, b"", body[:at]) + b"x"
    row = sum(bool(line) for line in _LINE_END.split(before)) - 1
    return f"row {row} (line {len(_LINE_END.findall(body, 0, at)) + 1})" if row else "the header"


def check_names(names: list[str], where: str) -> None:
    """Raise `ValueError` if a column's name occurs twice: either may be meant."""
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{where} names {twice!r} {names.count(twice)} times")


def more(count: int, what: str) -> str:
    """How many there are of what the sentence before names the first of."""
    return f", the first of {count} such {what}s" if count > 1 else ""


def _check_header(names: list[str]) -> None:
    """The first column may be nameless: it is where pandas writes row numbers."""
    bare = [name.strip() for name in names]
    if nameless := [number for number, name in enumerate(bare, 1) if not name and number > 1]:
        raise ValueError(f"the header has no name for column {nameless[0]}{more(len(nameless), 'column')}")
    check_names(bare, "the header")
