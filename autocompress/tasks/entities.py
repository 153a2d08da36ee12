"""Entities in a row of tags: `B-PER I-PER O` is one of two words. What the tags say is taken as conlleval takes it.

B- begins an entity, I- goes on with one of the same type, or begins one; E- and S- (of IOBES) end one. O is outside.
A tag without a prefix is a type of its own, and words in a row that have it are one entity. Two entities are equal if
both ends and the type are. Tjong Kim Sang & De Meulder 2003, "Introduction to the CoNLL-2003 Shared Task".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_PREFIXES = {"B", "I", "E", "S", "L", "U"}  # L and U: what BILOU calls E and S
_BEGINS, _ENDS = {"B", "S", "U"}, {"E", "L", "S", "U"}


class Entity(NamedTuple):
    """Words `begin` to `end` - 1."""

    type: str
    begin: int
    end: int


def entities(tags: Sequence[str]) -> list[Entity]:
    """Of one row, in order."""
    found: list[Entity] = []
    open_at, open_type = -1, ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, type_ = split(tag)
        goes_on = open_at >= 0 and type_ == open_type and prefix not in _BEGINS
        if open_at >= 0 and not goes_on:
            found.append(Entity(open_type, open_at, i))
            open_at = -1
        if open_at < 0 and type_:
            open_at, open_type = i, type_
        if open_at >= 0 and prefix in _ENDS:
            found.append(Entity(open_type, open_at, i + 1))
            open_at = -1
    return found


def split(tag: str) -> tuple[str, str]:
    """Prefix and type; of O neither."""
    prefix, dash, rest = tag.partition("-")
    if tag == "O":
        return "O", ""
    if dash and prefix in _PREFIXES:
        return prefix, rest
    return "I", tag


def counts(ours: Sequence[str], theirs: Sequence[str]) -> tuple[int, int, int]:
    """Of one row: entities that are right, that were found, and that there are."""
    found, real = set(entities(ours)), set(entities(theirs))
    return len(found & real), len(found), len(real)
