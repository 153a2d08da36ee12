"""Which settings the JSON files of an exported folder may hold: none that fetch code or name files elsewhere."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autocompress.errors import ConfigError, short

_CODE = {"auto_map", "custom_pipelines", "trust_remote_code"}
_ELSEWHERE = {"base_model_name_or_path"}  # an adapter's: plain transformers would fetch that model
_KERNELS = {"attn_implementation", "experts_implementation"}  # a value with a slash is fetched from the hub and run
_MOST_LISTS = 2_000_000  # and objects, each of which takes 60 bytes: the largest vocabulary has 800,000


class _Twice(ValueError):
    """A key that one object says twice: readers differ in which of both they take."""


def check(file: Path, where: str) -> None:
    """Raise `ConfigError` for a setting of a JSON file that may not be here."""
    for key, value in every(read(file, where)):
        _check_setting(where, key, value)


def read(file: Path, where: str) -> Any:
    """A JSON file. Raises `ConfigError` if it is none."""
    return parse(file.read_bytes(), where)


def parse(content: bytes, where: str) -> Any:
    """JSON as data. Raises `ConfigError` if it is none, says a key twice, or would take much memory."""
    if content.count(b"[") + content.count(b"{") > _MOST_LISTS:
        raise ConfigError(f"{where} should hold at most {_MOST_LISTS} lists. Got more. Export the model again.")
    try:
        return json.loads(content.decode(), object_pairs_hook=_once)
    except _Twice as e:
        raise ConfigError(f"{where} should say every key once. Got {short(e.args[0])} twice. Remove one.") from None
    except (ValueError, RecursionError) as e:  # nested a million deep; numbers of a million digits
        raise ConfigError(f"{where} should be readable JSON. Got {type(e).__name__}. Export the model again.") from None


def every(found: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth. A list's items belong to its key."""
    waiting: list[tuple[str | None, Any]] = [(None, found)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(key, item) for item in value]
        if key is not None:
            yield key, value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise _Twice(key)
    return found


def _check_setting(where: str, key: str, value: Any) -> None:
    if key in _CODE and value:
        raise ConfigError(f"{where} should not ask for code. Got {key} = {short(value)}. Remove that key.")
    if key in _ELSEWHERE and value:
        raise ConfigError(f"{where} should not need another model. Got {key} = {short(value)}. Merge it first.")
    if key.lstrip("_") in _KERNELS and any(isinstance(name, str) and "/" in name for _, name in every({key: value})):
        raise ConfigError(f"{where} should not fetch kernels. Got {key} = {short(value)}. Remove that key.")
    if key.endswith("_file") and isinstance(value, str) and (Path(value).name != value or value == ".."):
        raise ConfigError(
            f"{where} should name files of this folder only. Got {key} = {short(value)}. Remove that key."
        )
