"""Tables of texts in files: csv, tsv, json, jsonl, parquet. What a text says is never interpreted: "NA" stays "NA"."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autocompress.errors import ConfigError
from autocompress.tasks.data.delimited import DELIMITERS, check_names, check_swallowed, more, read_delimited, utf8

Columns = dict[str, list[Any]]  # N values each


def read_file(where: str, file: Path, label: str) -> Columns:
    """Every column of a file; `label` names that of the labels, if it has one.

    Raises `ConfigError` if the file is missing, of another kind, broken, or may be read in two ways.
    """
    if file.suffix not in FORMATS:
        raise ConfigError(f"{where}: must be one of {', '.join(FORMATS)}. Got {str(file)!r}.")
    if not file.is_file():
        raise ConfigError(f"{where}: must be a file that exists. Got {str(file)!r}.")
    try:
        columns = FORMATS[file.suffix](file)
        if file.suffix in DELIMITERS and label and label in columns:
            check_swallowed(columns, label, DELIMITERS[file.suffix])
    except (ValueError, RecursionError) as e:  # ArrowInvalid and JSONDecodeError are ValueErrors
        raise ConfigError(f"{where}: must be a readable {file.suffix} file. Got {str(file)!r}: {e}.") from None
    return columns


def _json(file: Path) -> Columns:
    text = utf8(file.read_bytes()).decode()
    if file.suffix == ".json":
        rows = json.loads(text, object_pairs_hook=_object)
        if not isinstance(rows, list):
            raise ValueError("it does not hold a list of objects, one a row")
        numbered = [(f"row {number}", row) for number, row in enumerate(rows, 1)]
    else:  # not splitlines: a JSON string may hold U+2028
        lines = [(f"line {number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        numbered = [(place, _line(place, line)) for place, line in lines]
    if wrong := [place for place, row in numbered if not isinstance(row, dict)]:
        raise ValueError(f"{wrong[0]} does not hold an object{more(len(wrong), wrong[0].split()[0])}")
    names = dict.fromkeys(name for _, row in numbered for name in row)
    return {name: [row.get(name) for _, row in numbered] for name in names}


def _line(place: str, line: str) -> Any:
    try:
        return json.loads(line, object_pairs_hook=_object)
    except json.JSONDecodeError as e:
        raise ValueError(f"{place}, column {e.colno}: {e.msg}") from None
    except ValueError as e:
        raise ValueError(f"{place}: {e}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON allows the same key twice; then either value may be meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        check_names([name for name, _ in pairs], "an object")
    return found


def _parquet(file: Path) -> Columns:
    from pyarrow import parquet

    check_names(parquet.read_schema(file).names, "the schema")
    columns: Columns = parquet.read_table(file).to_pydict()
    return columns


FORMATS: dict[str, Callable[[Path], Columns]] = {
    ".csv": read_delimited, ".tsv": read_delimited, ".jsonl": _json, ".json": _json, ".parquet": _parquet,
}  # fmt: skip
