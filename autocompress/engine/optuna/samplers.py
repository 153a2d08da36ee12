"""Who proposes the next recipe: Optuna's samplers, each as this search needs it.

TPE is left as Optuna has it: nothing tried on the analytic problem of benchmarks/ was better by more than the noise.
Feasible hypervolume at 30 charged trials, 12 seeds, standard error .004 to .008: .428; with 20 or 30 trials before it
begins to learn, instead of 10, .421 and .417. Without anchors .419; there with 20 .429, besides which sampling knobs
jointly (multivariate, group) gives .420 and 64 candidates instead of 24 .426.
"""

from __future__ import annotations

import copy
import warnings
from functools import cache
from statistics import median
from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from autocompress.space.goals import Direction
from autocompress.space.settings import SearchSettings

Values = list[float | None]  # of the objectives, in their order; None: not measured

_LEARN_FROM_COMPLETE = ("nsgaii", "gp")


def make(settings: SearchSettings, number: int, objectives: int, *, explore: bool = False) -> BaseSampler:
    """The sampler for one trial, and no other. `explore`: draw at random this time.

    Seeded by the trial's number, because a sampler's random state is not stored: resumed equals uninterrupted.
    """
    seed = (settings.seed * 1_000_003 + number) % 2**32
    match "random" if explore else settings.sampler:
        case "tpe":
            return Tpe(seed=seed) if objectives > 1 else TPESampler(seed=seed)
        case "nsgaii":
            return NSGAIISampler(seed=seed, population_size=10)
        case "gp":
            rest = TPESampler(seed=seed)  # for knobs that only some recipes have
            return GPSampler(seed=seed, independent_sampler=rest, warn_independent_sampling=False)
    return RandomSampler(seed=seed)  # also where the grid has come to its end


class Tpe(TPESampler):
    """Optuna's TPE for several objectives and one recipe. It proposes the same, in half the time.

    Optuna's sorts all trials into good and bad ones anew for every knob, and they are the same for all knobs of a
    recipe. What is private to Optuna here is pinned by a test; where a version of Optuna has it otherwise, its own
    sampler is left as it is.
    """

    _sorted: tuple[list[FrozenTrial], list[FrozenTrial]] | None = None

    def _sample(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        try:
            drawn = self._drawn(study, trial, search_space)
        except (AttributeError, ImportError, TypeError):
            _warn_of_optuna()
            return super()._sample(study, trial, search_space)
        return {name: knob.to_external_repr(drawn[name]) for name, knob in search_space.items()}

    def _drawn(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        from optuna.samplers._tpe import sampler as tpe

        if self._sorted is None:
            trials = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
            ended = sum(t.state != TrialState.RUNNING for t in trials)
            self._sorted = tpe._split_trials(study, trials, tpe.default_gamma_multiobjective(ended))
        good = self._build_parzen_estimator(study, search_space, self._sorted[0], handle_below=True)
        bad = self._build_parzen_estimator(study, search_space, self._sorted[1], handle_below=False)
        drawn = good.sample(self._rng.rng, self._n_ei_candidates)
        return self._compare(drawn, self._compute_acquisition_func(drawn, good, bad))


class Known(FrozenTrial):
    """A trial that samplers read: its constraints are looked up once, not whenever TPE asks for them.

    And always in the same order, by which the Gaussian process matches them; a database gives them in any.
    """

    def __init__(self, trial: FrozenTrial) -> None:
        vars(self).update(vars(trial))
        self._constraints = dict(sorted(trial.constraints.items()))

    @property
    def constraints(self) -> dict[str, float]:
        return self._constraints


def sketch(trials: list[FrozenTrial], directions: list[Direction], sampler: BaseSampler) -> optuna.Study:
    """A study in memory that holds these trials: the trials themselves, where Optuna would copy all of them deeply."""
    storage = InMemoryStorage()
    study = optuna.create_study(storage=storage, directions=directions, sampler=sampler)
    try:
        held = storage._studies[study._study_id]
        held.trials  # noqa: B018  another version may keep them elsewhere, and would not miss what is set here
        held.trials = list(trials)
    except (AttributeError, KeyError, TypeError):
        _warn_of_optuna()
        study.add_trials(map(_dated, trials))
    return study


def _dated(trial: FrozenTrial) -> FrozenTrial:
    """A copy that has the times which Optuna asks a trial for that is added to a study."""
    dated = copy.copy(trial)
    if dated.state.is_finished() and dated.datetime_complete is None:
        dated.datetime_complete = dated.datetime_start
    return dated


@cache
def _warn_of_optuna() -> None:
    """Once a process."""
    warnings.warn(
        f"Optuna {optuna.__version__} keeps its trials otherwise than the versions that autocompress knows: "
        "proposals are as good, but each takes longer.", stacklevel=2,
    )  # fmt: skip


def as_seen(trials: list[FrozenTrial], values: list[Values], settings: SearchSettings) -> list[FrozenTrial]:
    """The trials as the sampler should see them, `values` being what each was measured for.

    NSGA-II and the Gaussian process look at complete trials only, and would propose what was refused again and again.
    For them a refused recipe is a complete one that breaks its limits; where it was not measured it has what the median
    trial has, which says neither good nor bad of it.
    """
    if settings.sampler not in _LEARN_FROM_COMPLETE:
        return trials
    names = max((list(t.constraints) for t in trials), key=len, default=[])
    limits = {name: _middle([t.constraints.get(name) for t in trials]) for name in names}
    usual = [_middle(list(column)) for column in zip(*values, strict=True)]
    return [
        _completed(t, [u if v is None else v for v, u in zip(known, usual, strict=True)], limits | t.constraints)
        if t.state == TrialState.PRUNED else t
        for t, known in zip(trials, values, strict=True)
    ]  # fmt: skip


def _completed(trial: FrozenTrial, values: list[float], constraints: dict[str, float]) -> FrozenTrial:
    attrs = {key: value for key, value in trial.system_attrs.items() if not key.startswith("constraints:")}
    return create_trial(
        values=values, constraints=constraints, params=trial.params, distributions=trial.distributions,
        user_attrs=trial.user_attrs, system_attrs=attrs,
    )  # fmt: skip


def _middle(known: list[float | None]) -> float:
    numbers = [number for number in known if number is not None]
    return median(numbers) if numbers else 0.0
