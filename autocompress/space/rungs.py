"""Stop a training that will not come to the front.

At a ninth and a third of its steps a trial is scored. Size and latency are known by then, so only the score has a
curve. What the trial will score in the end is forecast: what others gained from this rung to their end, at the knobs
of its training, by a Gaussian process over the finished trials. It is stopped if it loses to one of them even with a
deviation more than forecast; the others must be lowered alike, for a float32 model is always beaten in size by an int8
one, and its own int8 variant may yet come to the front.

Why a forecast: in 54 real trainings (benchmarks/tabulated.yaml) those with a high learning rate were behind while it
was high, and ahead in the end. The order of their scores at a ninth agreed with the final one by a Kendall tau of .48;
once what is usual at their learning rate was added, by .75.

The shares of 1/3, and no waiting for peers: Li et al. 2018, "A System for Massively Parallel Hyperparameter Tuning"
(ASHA), arXiv:1810.05934. Departure: they rank trials at the same rung by one number. Extrapolation from finished curves
by a Gaussian process: Swersky et al. 2014, "Freeze-Thaw Bayesian Optimization", arXiv:1406.3896.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from statistics import median
from typing import NamedTuple

import numpy as np

from autocompress.space.goals import Cost, Goals, Measurement, dominates
from autocompress.space.recipe import Recipe

SHARES = (1 / 9, 1 / 3)  # of all training steps
_FROM_TRIALS = 20  # a search of fewer has too few to learn from
_LEAST_FINISHED = 5
_DOUBT = 0.5  # deviations that a trial may be better than its forecast
_DECADES = (0.3, 1.0, 3.0)  # how far apart the knobs of trainings that have little to do with each other may be
_CHANCE = (0.1, 0.3, 0.6, 0.9)  # how much of the spread of gains no knob explains

Knobs = Mapping[str, float]


class Forecast(NamedTuple):
    """What a trial will gain in score from a rung to its end, and the standard deviation of that."""

    gain: float
    deviation: float

    @property
    def at_best(self) -> float:
        """The most that it is trusted to gain."""
        return self.gain + _DOUBT * self.deviation


def shares(setting: str, trials: int) -> tuple[float, ...]:
    """Where the trainings of a search of so many trials are scored."""
    return SHARES if setting in ("stop", "watch") or (setting == "auto" and trials >= _FROM_TRIALS) else ()


def share_name(share: float) -> str:
    """How a share is written: `0.111`."""
    return f"{share:.3f}"


def knobs(recipe: Recipe) -> Knobs:
    """The numbers of the recipe's last training, by name, in decades: what a learning curve depends on."""
    decided = recipe.trained[-1].model_dump() if recipe.trained else {}
    numbers = {k: v for k, v in decided.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {name: math.log10(number) for name, number in numbers.items() if number > 0}


def forecast(mine: Knobs, finished: Sequence[tuple[Knobs, float]]) -> Forecast | None:
    """From the knobs and gains of finished trials. None: too few of them.

    A Gaussian process whose length and noise are the likeliest of a few. Rasmussen & Williams 2006, algorithm 2.1.
    """
    if len(finished) < _LEAST_FINISHED:
        return None
    names = sorted({name for known, _ in finished for name in known})
    knobs_ND = np.array([[known.get(name, 0.0) for name in names] for known in (*(k for k, _ in finished), mine)])
    gain_N = np.array([gain for _, gain in finished])
    usual, spread = median(gain_N.tolist()), float(gain_N.std())
    if spread == 0:
        return Forecast(usual, 0.0)
    apart_NN = ((knobs_ND[:, None] - knobs_ND) ** 2).sum(-1)
    tried = (_posterior(apart_NN, (gain_N - usual) / spread, *each) for each in product(_DECADES, _CHANCE))
    _, mean, variance = max(tried)
    return Forecast(usual + spread * mean, spread * math.sqrt(max(variance, 0.0)))


def _posterior(apart_NN: np.ndarray, gain_N: np.ndarray, length: float, chance: float) -> tuple[float, float, float]:
    """The log likelihood of all gains, and the mean and variance of the last row's, for which there is none yet."""
    alike_NN = (1 - chance) * np.exp(-apart_NN / (2 * length**2))
    root_NN = np.linalg.cholesky(alike_NN[:-1, :-1] + chance * np.eye(len(gain_N)))
    white_N, mine_N = np.linalg.solve(root_NN, np.stack([gain_N, alike_NN[-1, :-1]], axis=1)).T
    likelihood = -0.5 * white_N @ white_N - np.log(root_NN.diagonal()).sum()
    return float(likelihood), float(mine_N @ white_N), float(1 - mine_N @ mine_N)


def losses(mine: Measurement, finished: Mapping[int, Measurement], goals: Goals) -> list[int]:
    """The finished trials, by number, that are better than `mine` in every objective and in score.

    In score also where it is no objective: who loses in it to one that misses a limit on score misses it too. None
    while an objective is not measured yet.
    """
    if not goals.objectives.keys() <= mine.keys():
        return []

    def cost(measurement: Measurement) -> Cost:
        return (*goals.costs(measurement), -measurement["score"])

    return [number for number, measurement in finished.items() if dominates(cost(measurement), cost(mine))]
