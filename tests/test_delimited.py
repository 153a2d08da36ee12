"""A .csv or .tsv file is read whole, or the row that can be read in two ways is named."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet
from tiny_tables import message

from autocompress.errors import ConfigError
from autocompress.tasks.data.delimited import read_delimited
from autocompress.tasks.data.table_files import read_file


def _written(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def _reason(folder: Path, name: str, content: str | bytes) -> str:
    file = _written(folder, name, content)
    with pytest.raises(ConfigError) as error:
        read_file("task.data.train", file, "label")
    before = f"task.data.train: must be a readable {file.suffix} file. Got {str(file)!r}: "
    assert str(error.value).startswith(before)
    return str(error.value).removeprefix(before)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_marks(end: str, mark: str, tmp_path: Path) -> None:
    file = _written(tmp_path, "a.csv", mark + end.join(["text,label", "x,1", "", '"y, ""z""",2', ""]))
    assert read_delimited(file) == {"text": ["x", 'y, "z"'], "label": ["1", "2"]}


def test_nothing_is_interpreted(tmp_path: Path) -> None:
    values = ["NA", "null", "nan", "", "01", "1.0", "true", "2020-01-01", 'he said "x', "  x ", "a\u2028b"]
    file = _written(tmp_path, "a.csv", "text,label\n" + "".join(f"{value},x\n" for value in values))
    assert read_delimited(file)["text"] == values


def test_a_long_document_changes_nothing_for_other_readers(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    file = _written(tmp_path, "a.csv", f"text,label\n{'word ' * 500_000},x\n")
    assert len(read_delimited(file)["text"][0]) == 2_500_000
    assert csv.field_size_limit() == limit


STRAY = ["text\tlabel", "a\tgood", '"b\tbad', 'he said "c\tgood', 'd "e" f\tbad', 'g"\tgood', "h\tbad"]


@pytest.mark.parametrize("dropped", [None, 5])
def test_a_tsv_with_stray_quotes_is_read_row_by_row(dropped: int | None, tmp_path: Path) -> None:
    """Without row 5 its two quotes never look like a pair."""
    lines = [line for number, line in enumerate(STRAY) if number != dropped]
    columns = read_delimited(_written(tmp_path, "a.tsv", "\n".join(lines)))
    assert [list(row) for row in zip(*columns.values(), strict=True)] == [line.split("\t") for line in lines[1:]]


def test_a_csv_with_a_stray_quote_is_refused(tmp_path: Path) -> None:
    content = "\n".join(["text,label", '"one', 'line",good', "a,good", '"b,bad', 'he said "c,good'])
    assert _reason(tmp_path, "a.csv", content) == (
        "in row 3 (line 5) a field begins with a quote and does not end with one. "
        "Mend the quote, or save the table as .jsonl or .parquet."
    )


def test_a_last_quote_that_nothing_closes_is_refused(tmp_path: Path) -> None:
    assert "in row 1 (line 2) a field begins" in _reason(tmp_path, "a.csv", 'label,text\ngood,"a\nbad,b\n')
    assert "in the header a field begins" in _reason(tmp_path, "a.csv", '"text,label\na,b\n')


def test_a_tsv_of_both_kinds_is_refused(tmp_path: Path) -> None:
    content = 'text\tlabel\n"say ""x"""\tgood\n"b\tbad\nhe said "c\tgood\n'
    assert "in row 2 (line 3) a field begins" in _reason(tmp_path, "a.tsv", content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text,label\na,bad\n"b,bad\n5",good\n'),
        ("a.csv", 'label,text\ngood,a\nbad,"b\ngood,c\nbad,5"\n'),
        ("a.csv", 'text,label\na,good\nb,"bad\nc,good"\n'),
        ("a.csv", 'number,text,label\n1,a,good\n2,"b,bad\n3,c,good\n4,d",bad\n'),
        ("a.tsv", 'text\tlabel\na\tgood\n"b\tgood\n5"\tbad\n'),
    ],
    ids=["label last", "label first", "in the label", "three columns", "tsv"],
)
def test_quotes_of_two_rows_that_look_like_a_pair_are_refused(name: str, content: str, tmp_path: Path) -> None:
    reason = _reason(tmp_path, name, content)
    assert reason.startswith("row 2 seems to hold ")
    assert reason.endswith(" rows between two quotes. Mend the quote, or save the table as .jsonl or .parquet.")


def test_texts_of_several_lines_are_no_rows(tmp_path: Path) -> None:
    texts = ["Dear Bob,\nbest, Eve", "good, bad\nand 1,2\nugly", "x\n\ny", "1\r\n2"]
    file = tmp_path / "a.csv"
    with file.open("w", newline="") as handle:
        csv.writer(handle).writerows([["text", "label"], *([text, "good"] for text in texts), ["z", ""]])
    assert read_file("task.data.train", file, "label")["text"] == [*texts, "z"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("text,label,text\na,b,c\n", "the header names 'text' 2 times."),
        ("text, text,label\na,b,c\n", "the header names 'text' 2 times."),
        ("text,,label, \na,b,c,d\n", "the header has no name for column 2, the first of 2 such columns."),
        ("text,label\na,b,c\nd,e\nf\n", "row 1 has 3 fields, the header has 2, the first of 2 such rows."),
        (b"text,label\na,b\n\xff,c\n", "line 3 is not UTF-8. Save it with the encoding UTF-8."),
        ("text,label\na,b\n".encode("utf-16"), "line 1 is not UTF-8. Save it with the encoding UTF-8."),
        ("\n", "it is empty."),
    ],
)
def test_what_is_refused(content: str | bytes, reason: str, tmp_path: Path) -> None:
    assert _reason(tmp_path, "a.csv", content) == reason


def test_the_row_numbers_that_pandas_writes_need_no_name(tmp_path: Path) -> None:
    assert read_delimited(_written(tmp_path, "a.csv", ",text,label\n0,a,b\n"))["text"] == ["a"]


def test_a_parquet_file_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    table = pyarrow.table([["a"], ["b"], ["c"]], names=["text", "text", "label"])
    parquet.write_table(table, tmp_path / "a.parquet")
    assert message(tmp_path, {"train": "a.parquet"}).endswith("the schema names 'text' 2 times.")
