"""Answers that are no numbers still have an argmax, and a score: whoever takes scores asks here first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autocompress.errors import NotFinite

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def check(logits_NC: ArrayLike) -> None:
    """Raise `NotFinite` where a text's answer holds NaN or infinity."""
    broken_N = ~np.isfinite(np.asarray(logits_NC)).all(-1)
    if broken_N.any():
        count, texts = int(broken_N.sum()), len(broken_N)
        raise NotFinite(f"its answers to {count} of {texts} texts are not finite numbers (NaN or infinity)")
