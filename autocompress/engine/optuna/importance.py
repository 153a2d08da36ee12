"""How much each knob decides whether a trial is among the best: Optuna's PED-ANOVA, which knows of knobs that only some
recipes have. Watanabe et al. 2023, "PED-ANOVA", arXiv:2304.10255.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

_BEST, _FEWEST = 0.1, 5  # the share that counts as the best, and how many they are at least
_DECADE = 10.0  # what spans more than this is looked at by its logarithm

Value = float | str | bool


def shares(rows: Sequence[Mapping[str, Value]], costs: Sequence[float]) -> dict[str, float]:
    """Column -> its share, all shares add up to 1. `costs`: of each row, less is better. Empty: all are alike."""
    if not any(rows) or len(set(costs)) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    columns = {name: _distribution([row[name] for row in rows if name in row]) for name in dict.fromkeys(_names(rows))}
    study = optuna.create_study()
    for row, cost in zip(rows, costs, strict=True):
        known = {name: columns[name] for name in row}
        study.add_trial(optuna.trial.create_trial(params=dict(row), distributions=known, value=cost))
    best = min(max(_BEST, _FEWEST / len(rows)), 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is experimental
        return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=best))


def _names(rows: Sequence[Mapping[str, Value]]) -> list[str]:
    return [name for row in rows for name in row]


def _distribution(values: list[Value]) -> BaseDistribution:
    """What the values of a column may have been drawn from."""
    numbers = [value for value in values if isinstance(value, float)]
    if len(numbers) < len(values):
        return CategoricalDistribution(sorted(set(values), key=repr))
    low, high = min(numbers), max(numbers)
    return FloatDistribution(low, high, log=low > 0 and high / low > _DECADE)
