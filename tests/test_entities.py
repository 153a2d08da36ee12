"""Entities are read off tags as conlleval reads them."""

from __future__ import annotations

import pytest

from autocompress.tasks.entities import Entity, counts, entities


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-PER I-PER O B-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),
        ("B-PER B-PER", [("PER", 0, 1), ("PER", 1, 2)]),
        ("I-PER I-PER I-LOC", [("PER", 0, 2), ("LOC", 2, 3)]),
        ("O I-PER O", [("PER", 1, 2)]),
        ("B-PER I-LOC", [("PER", 0, 1), ("LOC", 1, 2)]),
        ("B-PER I-PER E-PER S-LOC S-LOC", [("PER", 0, 3), ("LOC", 3, 4), ("LOC", 4, 5)]),
        ("B-PER L-PER U-LOC", [("PER", 0, 2), ("LOC", 2, 3)]),
        ("NOUN NOUN VERB", [("NOUN", 0, 2), ("VERB", 2, 3)]),
        ("B-a-b I-a-b", [("a-b", 0, 2)]),
        ("O O", []),
        ("", []),
    ],
)
def test_entities(tags: str, found: list[tuple[str, int, int]]) -> None:
    assert entities(tags.split()) == [Entity(*one) for one in found]


def test_a_published_example() -> None:
    """The one in the README of seqeval: precision, recall and F1 of 0.5; conlleval says the same."""
    theirs = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    ours = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    right, found, real = map(sum, zip(*map(counts, ours, theirs), strict=True))
    assert (right, found, real) == (1, 2, 2)
    assert 2 * right / (found + real) == 0.5
