"""Tables of texts in files: csv, tsv, json, jsonl, parquet. What a text says is never interpreted: "NA" stays "NA"."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autocompress.errors import ConfigError

Columns = dict[str, list[Any]]  # N values each


def read_file(where: str, file: Path) -> Columns:
    """Every column of a file. Raises `ConfigError` if it is missing, of another kind, or broken."""
    if file.suffix not in FORMATS:
        raise ConfigError(f"{where}: must be one of {', '.join(FORMATS)}. Got {str(file)!r}.")
    if not file.is_file():
        raise ConfigError(f"{where}: must be a file that exists. Got {str(file)!r}.")
    try:
        return FORMATS[file.suffix](file)
    except (ValueError, csv.Error) as e:  # UnicodeDecodeError, JSONDecodeError and ArrowInvalid are ValueErrors
        raise ConfigError(f"{where}: must be a readable {file.suffix} file. Got {str(file)!r}: {e}.") from None


def _csv(file: Path) -> Columns:
    csv.field_size_limit(2**31 - 1)  # documents are longer than the default 128 KiB
    with file.open(newline="", encoding="utf-8-sig") as handle:
        header, *rows = [
            row for row in csv.reader(handle, delimiter="\t" if file.suffix == ".tsv" else ",") if row
        ] or [[]]
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ValueError(f"row {number} has {len(row)} fields, the header has {len(header)}")
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def _json(file: Path) -> Columns:
    text = file.read_text(encoding="utf-8-sig")
    lines = text.split("\n")  # not splitlines: a JSON string may hold U+2028
    rows = json.loads(text) if file.suffix == ".json" else [json.loads(line) for line in lines if line.strip()]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it does not hold one object a row")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _parquet(file: Path) -> Columns:
    from pyarrow import parquet

    columns: Columns = parquet.read_table(file).to_pydict()
    return columns


FORMATS: dict[str, Callable[[Path], Columns]] = {
    ".csv": _csv, ".tsv": _csv, ".jsonl": _json, ".json": _json, ".parquet": _parquet,
}  # fmt: skip
