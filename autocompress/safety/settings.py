"""Which settings the JSON files of an exported folder may hold: none that fetch code or name files elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autocompress.errors import ConfigError

_CODE = {"auto_map", "custom_pipelines", "trust_remote_code"}
_KERNELS = ("attn_implementation", "experts_implementation")  # a value with a slash is fetched from the hub and run
_MOST = {"threads": 1024, "batch_size": 4096, "sequence_length": 131_072}  # what a run is given
_NOT_SETTINGS = {"tokenizer.json", "vocab.json"}  # large, and read by the tokenizer's own parser


def check(folder: Path) -> None:
    """Raise `ConfigError` for the first setting that may not be here."""
    for file in sorted(folder.glob("*.json")):
        if file.name not in _NOT_SETTINGS:
            where = f"{folder}: {file.name}"
            for key, value in every(read(file, where)):
                _check_setting(where, key, value)


def read(file: Path, where: str) -> Any:
    """A JSON file. Raises `ConfigError` if it is none."""
    try:
        return json.loads(file.read_text())
    except (ValueError, RecursionError) as e:  # nested a million deep; numbers of a million digits
        raise ConfigError(f"{where} should be readable JSON. Got {type(e).__name__}. Export the model again.") from None


def every(found: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield key, value
            yield from every(value)
    elif isinstance(found, list):
        for value in found:
            yield from every(value)


def _check_setting(where: str, key: str, value: Any) -> None:
    if key in _MOST and isinstance(value, int) and value > _MOST[key]:
        raise ConfigError(f"{where} should have {key} of at most {_MOST[key]}. Got {_short(value)}. Correct it.")
    if key in _CODE and value:
        raise ConfigError(f"{where} should not ask for code. Got {key} = {_short(value)}. Remove that key.")
    if key.lstrip("_") in _KERNELS and "/" in json.dumps(value):
        raise ConfigError(f"{where} should not fetch kernels. Got {key} = {_short(value)}. Remove that key.")
    if key.endswith("_file") and isinstance(value, str) and Path(value).name != value:
        raise ConfigError(
            f"{where} should name files of this folder only. Got {key} = {_short(value)}. Remove that key."
        )


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) < 80 else f"{said[:76]}..."
