"""How the names in a checkpoint's head and the labels of the data go together: the same names, or none at all."""

from __future__ import annotations

import re
from collections.abc import Sequence

_GENERIC = re.compile(r"(?:label_)?(\d+)", re.IGNORECASE)  # what transformers writes where nobody gave names


def agree(theirs: Sequence[str], ours: Sequence[str]) -> bool:
    """Whether nothing contradicts that both mean the same classes: equal names in any order, or names that say nothing.

    Whole numbers from 0 in the data are row numbers, whatever the checkpoint calls its rows.
    """
    return len(theirs) == len(ours) and (rows(theirs, ours) is not None or generic(theirs) or generic(ours))


def rows(theirs: Sequence[str], ours: Sequence[str]) -> list[int] | None:
    """Which row of the head is each of our labels; None if the names differ by more than case, blanks, _ and -."""
    for form in (str, str.casefold, _plain):
        known = {form(name): row for row, name in enumerate(theirs)}
        order = [known.get(form(name), -1) for name in ours]
        if len(known) == len(theirs) and sorted(order) == list(range(len(theirs))):
            return order
    return None


def generic(names: Sequence[str]) -> bool:
    """LABEL_0, LABEL_1, ... or 0, 1, ...: only the rows' own numbers."""
    found = [_GENERIC.fullmatch(name) for name in names]
    return all(match and int(match[1]) == row for row, match in enumerate(found))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
