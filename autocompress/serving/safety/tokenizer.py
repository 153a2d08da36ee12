"""What tokenizer.json would make its Rust reader do with a text: no more work and no more letters than it is worth.

Its vocabulary is only looked up. What runs are its other parts: regular expressions, which may try for ever, and
replacements, of which a few in a row turn one letter into a billion.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autocompress.errors import ConfigError, short
from autocompress.serving.safety import settings

_PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
_MOST_VALUES = 500  # in those parts: the richest published ones have 100
_LONGEST, _LONGEST_PATTERN = 100, 2000  # letters of any other text there, and of a regular expression
_LONGEST_WORD = 1000  # letters: its pieces are looked for in a time that grows with the third power
_GROWTH = 1024  # letters that may become of one. The table of XLM-R makes 33 of one.
_GROUPS, _REPEATS = 6, 6  # of a regular expression, and between two of its |
_ESCAPED = re.compile(r"\\(?:[pP]\{\^?\w+\}|x\{?[0-9a-fA-F]+\}?|u[0-9a-fA-F]{4}|[sSdDwWrntbBAzZ]|[^a-zA-Z0-9])")
_CLASS = re.compile(r"\[[^][]*\]")  # innermost first
_FIXED = re.compile(r"\((?:\?:)?\w(?:\{\d\})?\)")  # a group of fixed length, such as three digits
_GROUP = re.compile(r"\((?:\?(?:[im]*[:)]|<?[=!]|>)|(?!\?))")  # but no names, conditions, remarks, free spacing
_NESTED = re.compile(r"\)[*+{]|\}[*+{]|[*+?][*{]|[*+?]{3}")  # what is repeated is repeated: (a+)+, a{9}{9}
_REPEAT = re.compile(r"[*+?{]")


def check(file: Path, where: str) -> None:
    """Raise `ConfigError` for the first part that could take for ever or fill the memory."""
    found = settings.read(file, where)
    if not (isinstance(found, dict) and isinstance(found.get("model"), dict)):
        raise ConfigError(f"{where} should hold a tokenizer. Got {type(found).__name__}. Export the model again.")
    parts = [(key, value) for part in _PARTS for key, value in settings.every({part: found.get(part)})]
    if len(parts) > _MOST_VALUES:
        raise ConfigError(
            f"{where} should have at most {_MOST_VALUES} values besides its vocabulary. Got {len(parts)}."
        )
    plain = [(key, value) for key, value in found["model"].items() if isinstance(value, str)]
    for key, value in (*parts, *plain):
        _check_text(where, key, value)
        _check_template(where, key, value)
    longest = found["model"].get("max_input_chars_per_word")
    if isinstance(longest, int) and longest > _LONGEST_WORD:
        raise ConfigError(f"{where} should look for words of at most {_LONGEST_WORD} letters. Got {short(longest)}.")
    grown = math.prod(_growth(where, value) for key, value in parts if isinstance(value, dict))
    if grown > _GROWTH:
        raise ConfigError(f"{where} should make at most {_GROWTH} letters of one. Got {grown:.0f}.")


def _check_text(where: str, key: str, value: Any) -> None:
    if not isinstance(value, str) or key == "precompiled_charsmap":
        return
    if key == "Regex":
        if wrong := _endless(value):
            raise ConfigError(f"{where} should have no regular expression that could take for ever. Got {wrong}.")
    elif len(value) > _LONGEST:
        raise ConfigError(f"{where} should have {key} of at most {_LONGEST} letters. Got {len(value)}.")


def _check_template(where: str, key: str, value: Any) -> None:
    """Each further mention of a long text multiplies the parts that it is cut into."""
    if key in ("single", "pair") and isinstance(value, list):
        named = sum(isinstance(piece, dict) and "Sequence" in piece for piece in value)
        if named > (1 if key == "single" else 2):
            raise ConfigError(f"{where} should name every text once in its template. Got {named} in {key!r}.")


def _endless(pattern: str) -> str:
    """What about a regular expression could make it try exponentially many ways, if anything.

    Published tokenizers repeat letters and classes of letters, but neither groups nor what is repeated already.
    """
    if len(pattern) > _LONGEST_PATTERN:
        return f"one of {len(pattern)} letters"
    bare, classes = _ESCAPED.sub("a", pattern), 1
    while classes:
        bare, classes = _CLASS.subn("a", bare)
    bare = _FIXED.sub("a", bare)
    plain, groups = _GROUP.subn("", bare)
    if "\\" in bare or groups < bare.count("("):
        return f"a reference or an odd group in {short(pattern)}"
    if _NESTED.search(bare):
        return f"a repeated group in {short(pattern)}"
    if groups > _GROUPS or max(len(_REPEAT.findall(way)) for way in plain.split("|")) > _REPEATS:
        return f"too much in {short(pattern)}"
    return ""


def _growth(where: str, part: dict[str, Any]) -> float:
    """How many letters this part makes of one."""
    content, pattern, table = part.get("content"), part.get("pattern"), part.get("precompiled_charsmap")
    if isinstance(table, str):
        return max(1, *map(len, _replacements(where, table)))
    if isinstance(content, str):
        replaced = pattern.get("String") if isinstance(pattern, dict) else None
        if not replaced and content:  # what matches nothing matches between any two letters
            return 1.0 + len(content)
        return max(1.0, len(content) / len(replaced or " "))
    return 1.0


def _replacements(where: str, table: str) -> Iterator[bytes]:
    """What a sentencepiece table puts in the place of letters: behind a trie whose size its first four bytes say."""
    try:
        content = base64.b64decode(table, validate=True)
    except ValueError:
        raise ConfigError(f"{where} should have a readable precompiled_charsmap. Got other letters.") from None
    return iter(content[4 + int.from_bytes(content[:4], "little") :].split(b"\0"))
