"""`builtin/descriptions`: pairs of real English. Does this description belong to the function of that name?

A pair is the name of a class or function in one of ten installed libraries, in words, and the first sentence of a
docstring: its own (`fits`), or that of another one in the same file (`other`), which speaks of the same things. No
word tells the two labels apart by itself: a model has to read both texts together. Two of every four functions of a
file exchange their descriptions, and the four stand in one split, so every description occurs once, and there are as
many pairs of either label in each split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import cast

from autocompress.errors import ConfigError
from autocompress.tasks.data import sources

NAME = "builtin/descriptions"
COLUMNS = ("name", "description", "label")
PAIRS = {"test": 600, "validation": 600, "train": 1600}
_MOST = 320  # of one library, the rest of which is not read
_RULES = 1  # part of the cache's key: raise it when the rules below give other pairs

_MARKUP = re.compile(r":[\w:]+:(?=`)|[`*~|\[\]]")
_PLAIN = re.compile(r"[A-Z][A-Za-z0-9 ,.'()/-]*")
_WORDS, _NAME_WORDS = range(4, 17), range(2, 6)


def load() -> dict[str, list[list[str]]]:
    """Train, validation and test: name, description and label of each pair. Made once for each set of versions.

    Raises `ConfigError` if a library is not installed, or all together have too few.
    """
    return cast(dict[str, list[list[str]]], sources.made_once(NAME, "descriptions", [_RULES], build))


def build() -> dict[str, list[list[str]]]:
    """Extract the pairs and deal them out: takes seconds."""
    fours = sorted(_fours(), key=lambda four: sources.hashed(four[0][1]))
    if 4 * len(fours) < (wanted := sum(PAIRS.values())):
        raise ConfigError(
            f"task.data: {NAME} needs {wanted} described functions. Got {4 * len(fours)} in "
            f"{', '.join(sources.LIBRARIES)}. Their sources may not be installed: reinstall them."
        )
    splits, dealt = {}, iter(fours)
    for split, count in PAIRS.items():
        rows = chain.from_iterable(_dealt(next(dealt)) for _ in range(count // 4))
        splits[split] = sorted(rows, key=lambda row: sources.hashed(" ".join(row)))
    return splits


def described(name: str, docstring: str) -> tuple[str, str] | None:
    """A name in words and the first sentence of its docstring; None if either is too short, too long or no prose."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name).lower().split()
    paragraph = " ".join(_MARKUP.sub("", docstring.split("\n\n")[0]).split())
    sentence = re.split(r"(?<=[.!?])\s", paragraph)[0]
    fits = len(words) in _NAME_WORDS and len(sentence.split()) in _WORDS and _PLAIN.fullmatch(sentence)
    return (" ".join(words), sentence) if fits and not name.startswith("_") else None


def _fours() -> Iterator[list[tuple[str, str]]]:
    """Those of all libraries, of none of them more than of the others by far."""
    seen = set[str]()
    for library in sources.LIBRARIES:
        yield from islice(_fours_of(library, seen), _MOST // 4)


def _fours_of(library: str, seen: set[str]) -> Iterator[list[tuple[str, str]]]:
    """Four functions of one file, by the hash of what they say. No name occurs twice in a file, no sentence in `seen`,
    to which those that are found are added.
    """
    for file in sources.files(library):
        own: dict[str, str] = {}
        for name, sentence in filter(None, (described(*each) for each in sources.documented(file))):
            letters = re.sub("[^a-z]", "", sentence.lower())
            if name not in own and letters not in seen:
                own[name] = sentence
                seen.add(letters)
        ordered = sorted(own.items(), key=lambda each: sources.hashed(each[1]))
        yield from (ordered[at : at + 4] for at in range(0, len(ordered) - 3, 4))


def _dealt(four: list[tuple[str, str]]) -> list[list[str]]:
    (first, its), (second, whose), *kept = four
    return [[first, whose, "other"], [second, its, "other"], *([*each, "fits"] for each in kept)]
