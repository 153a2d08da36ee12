"""What a training that was scored at a rung will have gained by its end, from those that went all the way.

A Gaussian process over the finished trials, of three parts: the knobs of the training, the structure that is trained,
and the score at the rung. Of the first: in 54 real trainings (benchmarks/tabulated.yaml) those with a high learning
rate were behind while it was high, and ahead in the end. The order of their scores at a ninth agreed with the final one
by a Kendall tau of .48; once what is usual at their learning rate was added, by .75.

Of the other two: who goes on from a rung stood well there, some by luck, and falls back. Where gains were learnt from
the knobs alone, they sank as a search went on, for it learnt from ever luckier ones: of 454 trainings in 1,200 s it
stopped 397, and the last 32 that ended came out .010 below what was forecast at a ninth, .009 at a third. Among
trainings of like structure and like score luck is alike: forecasts of the same 32 are .000 and .002 off.

Extrapolation from finished curves by a Gaussian process: Swersky et al. 2014, "Freeze-Thaw Bayesian Optimization",
arXiv:1406.3896.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from autocompress.space.recipe import Recipe

_LEAST_FINISHED = 5
_DOUBT = 0.5  # deviations that a trial may be better than its forecast
_DECADES = (0.3, 1.0, 3.0)  # how far apart the knobs of trainings that have little to do with each other may be
_CHANCE = (0.1, 0.3, 0.6, 0.9)  # how much of the spread of gains nothing explains
_BY_STRUCTURE = (0.0, 0.3, 0.6)  # of the rest: how much the structure explains, in place of the training's knobs
_PRESENT = 0.5  # octaves between two structures of which one has a step that says nothing of how much it keeps
_FALLS_BACK = 0.5  # a deviation of how much of a higher score at the rung is lost again
_ROUNDING = 1e-6  # of a score: gains that differ by less are the same

Position = Mapping[str, float]


class Standing(NamedTuple):
    """A trial at a rung: its training's knobs in decades, what its earlier steps keep in octaves, and its score."""

    knobs: Position
    structure: Position
    score: float


class Forecast(NamedTuple):
    """What a trial will gain in score from a rung to its end, and the standard deviation of that."""

    gain: float
    deviation: float

    @property
    def at_best(self) -> float:
        """The most that it is trusted to gain."""
        return self.gain + _DOUBT * self.deviation


def standing(recipe: Recipe, score: float) -> Standing:
    """Of a recipe that has this score at a rung; the knobs are the numbers of its last training."""
    *earlier, training = recipe.trained or (None,)
    structure: dict[str, float] = {}
    for step in earlier:
        keep = step.model_dump().get("keep")
        octaves = math.log2(keep) if isinstance(keep, int | float) and keep > 0 else _PRESENT
        structure[step.name] = structure.get(step.name, 0.0) + octaves
    decided = training.model_dump() if training else {}
    numbers = {k: v for k, v in decided.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return Standing({name: math.log10(number) for name, number in numbers.items() if number > 0}, structure, score)


def forecast(mine: Standing, finished: Sequence[tuple[Standing, float]]) -> Forecast | None:
    """From where finished trials stood at the same rung, and what they gained. None: too few of them.

    What is likeliest of a few says how far the knobs reach, and how much is by structure and by chance. Rasmussen &
    Williams 2006, algorithm 2.1.
    """
    if len(finished) < _LEAST_FINISHED:
        return None
    gain_N = np.array([gain for _, gain in finished])
    usual, spread = float(np.median(gain_N)), float(gain_N.std())
    all_N = [*(known for known, _ in finished), mine]
    score_N = np.array([s.score for s in all_N])
    if spread <= _ROUNDING * np.abs(score_N).max():
        return Forecast(usual, 0.0)
    knobs_NN, structure_NN = _apart([s.knobs for s in all_N]), _apart([s.structure for s in all_N])
    score_N = _FALLS_BACK * (score_N - np.median(score_N)) / spread
    tried = []
    for length, share, chance in product(_DECADES, _BY_STRUCTURE, _CHANCE):
        alike_NN = (1 - share) * np.exp(-knobs_NN / (2 * length**2)) + share * np.exp(-structure_NN / 2)
        common_NN = (1 - chance) * alike_NN + np.outer(score_N, score_N)
        tried.append(_posterior(common_NN, (gain_N - usual) / spread, chance))
    _, mean, variance = max(tried)
    return Forecast(usual + spread * mean, spread * math.sqrt(max(variance, 0.0)))


def _apart(positions: Sequence[Position]) -> np.ndarray:
    """Squared distances between all of them; what one does not name is 0 there."""
    names = sorted({name for position in positions for name in position})
    each_ND = np.array([[position.get(name, 0.0) for name in names] for position in positions])
    squares: np.ndarray = ((each_ND[:, None] - each_ND) ** 2).sum(-1)
    return squares


def _posterior(common_NN: np.ndarray, gain_N: np.ndarray, chance: float) -> tuple[float, float, float]:
    """The log likelihood of all gains, and the mean and variance of the last row's, for which there is none yet.

    `common_NN`: the covariance of what is not chance; `chance`: the variance of what is.
    """
    root_NN = np.linalg.cholesky(common_NN[:-1, :-1] + chance * np.eye(len(gain_N)))
    white_N, mine_N = np.linalg.solve(root_NN, np.stack([gain_N, common_NN[-1, :-1]], axis=1)).T
    likelihood = -0.5 * white_N @ white_N - np.log(root_NN.diagonal()).sum()
    return float(likelihood), float(mine_N @ white_N), float(common_NN[-1, -1] + chance - mine_N @ mine_N)
