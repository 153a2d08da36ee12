"""How sure a score is: what it would be on other texts of the same kind, and without each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 1000

OfSums = Callable[[NDArray[Any]], NDArray[Any]]  # a metric as a function of sums (..., S)


def paired_interval(of_sums: OfSums, ours_NS: NDArray[Any], theirs_NS: NDArray[Any]) -> tuple[float, float]:
    """The 95 % interval of metric(ours) - metric(theirs), by resampling the texts with a fixed seed.

    Both are scored on the same texts, so what makes a text hard for both cancels. Efron 1979; for models: Koehn 2004.
    """
    rng, count = np.random.default_rng(0), len(ours_NS)
    ours, theirs = ours_NS.astype(float), theirs_NS.astype(float)
    found = []
    for _ in range(_RESAMPLES):
        times_N = np.bincount(rng.integers(0, count, count), minlength=count).astype(float)
        found.append(of_sums(times_N @ ours) - of_sums(times_N @ theirs))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def without_each(of_sums: OfSums, every_NS: NDArray[Any]) -> NDArray[np.float64]:
    """The metric without the i-th text, (N,)."""
    return np.asarray(of_sums(every_NS.sum(0) - every_NS), float)
