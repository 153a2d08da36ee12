"""What each piece takes, learnt from models that were measured: a Gaussian linear model with a weak prior.

A figure is a sum over pieces, each how much there is of it times what one unit takes. Before anything is measured a
unit is held to take what it usually does, or several times that; the uncompressed model, which is measured first, says
at once what all of its pieces take together. So a model of half its layers is told well from the beginning, and one
with a kind of product that was never measured hardly at all: its interval says so. Bishop 2006, "Pattern Recognition
and Machine Learning", section 3.3.

An interval is of what would be measured: pieces add up to a figure but roughly, however many models were seen, so the
noise of a measurement is in it. How wide it is, is learnt from how far off each figure was when it was told without it,
in standard deviations: what 95 % of these are within, and somewhat more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

_DOUBT = 1.5  # a standard deviation of what a unit takes, before anything is measured, as a share of the usual
# Of 200 MiniLM recipes, each told from those before it, 2 % lay outside of their intervals, whose halves were 15 % of
# the figure in the median. Without the noise in them they narrowed to 5 %, and of the last fifty 40 % lay outside; with
# the farthest in place of the quantile they were 25 % wide, and twice as many were in doubt.
_LEAST_REACH, _MOST, _MORE = 2.0, 0.95, 1.25  # deviations at least; the quantile of those seen; how much farther

Work = Mapping[str, float]  # how much there is of each piece


class Observation(NamedTuple):
    """What was measured of a model of these pieces, and the standard deviation of that."""

    work: Work
    figure: float
    noise: float


class Told(NamedTuple):
    """A figure and its interval. `strange`: a part of it is of a kind that was never measured."""

    figure: float
    low: float
    high: float
    strange: bool


class Posterior:
    """What is known after the observations, of which the first is that of the uncompressed model."""

    def __init__(self, seen: Sequence[Observation], usual: Callable[[str], float]) -> None:
        """`usual`: what a unit of a piece usually takes beside the others, in whatever measure they share."""
        self._usual = usual
        self._names = sorted({name for one in seen for name, amount in one.work.items() if amount and usual(name)})
        self._scale = seen[0].figure / max(sum(usual(n) * seen[0].work.get(n, 0.0) for n in self._names), 1e-30)
        figure_N, noise_N = (np.array([one[i] for one in seen]) for i in (1, 2))
        rows_ND = np.array([self._row(one.work) for one in seen]).reshape(len(seen), -1)
        white_ND, off_N = rows_ND / noise_N[:, None], (figure_N - rows_ND.sum(1)) / noise_N
        self._covariance_DD = np.linalg.inv(np.eye(len(self._names)) / _DOUBT**2 + white_ND.T @ white_ND)
        self._takes_D = 1 + self._covariance_DD @ white_ND.T @ off_N
        hat_N = np.einsum("nd,de,ne->n", white_ND, self._covariance_DD, white_ND).clip(max=1 - 1e-6)
        left_N = (figure_N - rows_ND @ self._takes_D) / noise_N / np.sqrt(1 - hat_N)  # each told without it
        far_N = np.abs(left_N[1:])
        self._reach = max(_LEAST_REACH, _MORE * float(np.quantile(far_N, _MOST)) if len(far_N) else 0.0)

    def tell(self, work: Work, noise: Callable[[float], float]) -> Told:
        """The figure of a model of these pieces. Nothing takes less than no time, and no less than what is known of.

        `noise`: the standard deviation of a measurement, by the figure.
        """
        row_D = self._row(work)
        strangers = [self._scale * self._usual(n) * amount for n, amount in work.items() if n not in self._names]
        figure = float(row_D @ self._takes_D)
        half = self._reach * float(np.hypot(np.sqrt(row_D @ self._covariance_DD @ row_D), noise(figure)))
        more = sum(strangers)
        wide = self._reach * _DOUBT * float(np.sqrt(sum(x * x for x in strangers)))
        low = figure - half + max(more - wide, 0.0)
        return Told(figure + more, max(low, 0.0), figure + half + more + wide, strange=more > 0)

    def _row(self, work: Work) -> np.ndarray:
        """What each piece would take at its usual cost, in the figure's unit."""
        return np.array([self._scale * self._usual(name) * work.get(name, 0.0) for name in self._names])
