"""Answers that are no numbers still have an argmax, and a score: whoever takes scores asks here first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autocompress.errors import NotFinite

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def broken(logits: ArrayLike) -> int:
    """How many rows of (N, ...) hold NaN or infinity."""
    array = np.asarray(logits)
    return int((~np.isfinite(array.reshape(len(array), -1)).all(-1)).sum())


def refuse(count: int, texts: int) -> None:
    """Raise `NotFinite` if so many answers are broken, of those to so many texts."""
    if count:
        raise NotFinite(f"its answers to {count} of {texts} texts are not finite numbers (NaN or infinity)")


def check(logits: ArrayLike) -> None:
    """Raise `NotFinite` where a row's answer holds NaN or infinity."""
    refuse(broken(logits), len(np.asarray(logits)))
