"""The study's memory: Optuna's storage, asked and told one trial at a time. The only importer of optuna.

What Optuna has no column for (why a recipe was refused, what was measured besides the objectives) is one JSON attribute
of the trial, written before the trial is told. So a trial that a crash left RUNNING either has its outcome, and is told
again, or has only its parameters, and is run.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from autocompress.goals import Direction
from autocompress.ledger import Trial
from autocompress.recipe import Recipe
from autocompress.settings import SearchSettings

_OUTCOME, _RECIPE = "autocompress", "recipe"
_VALID = "valid"  # the first constraint: 1 where a recipe cannot be carried out at all


class Store:
    """One study in a database."""

    def __init__(self, path: Path, name: str, objectives: Mapping[str, Direction], settings: SearchSettings) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._settings = settings
        self._objectives = list(objectives)
        self._study = optuna.create_study(
            study_name=name, storage=f"sqlite:///{path}", load_if_exists=True, directions=list(objectives.values())
        )

    def enqueue(self, params: dict[str, Any]) -> None:
        """Try these parameters before any sampled ones. Enqueued once however often this is called."""
        self._study.enqueue_trial(params, skip_if_exists=True)

    def ask(self, sample: Callable[[Any], Recipe], *, explore: bool = False) -> Trial:
        """A new trial. `explore` draws it at random, which gets a sampler out of repeating itself."""
        number = self._next_number()
        self._study.sampler = self._sampler(number, explore)
        return self._sample(self._study.ask(), sample)

    def resume(self, number: int, sample: Callable[[Any], Recipe]) -> Trial:
        """A trial that an earlier process left RUNNING, with the parameters it had; missing ones are sampled."""
        self._study.sampler = self._sampler(number, explore=False)
        return self._sample(self._handle(number), sample)

    def tell(self, trial: Trial) -> None:
        """Record the outcome for good."""
        handle = self._handle(trial.number)
        handle.set_user_attr(_OUTCOME, json.dumps(_outcome(trial)))
        self._finish(handle, trial)

    def finish_told(self) -> None:
        """Tell again what a crash cut off between the outcome and the telling."""
        for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if _OUTCOME in frozen.user_attrs:
                self._finish(self._handle(frozen.number), _read(frozen))

    def trials(self) -> list[Trial]:
        """Every trial there is but those still waiting in the queue, in the order of their numbers."""
        waiting = (TrialState.WAITING,)
        return [_read(t) for t in self._study.get_trials(deepcopy=False) if t.state not in waiting]

    def _finish(self, handle: optuna.Trial, trial: Trial) -> None:
        """Constraints first, always in the same order: a trial that has none counts as feasible."""
        measured = trial.state in ("complete", "duplicate") and trial.measurement.keys() >= set(self._objectives)
        constraints = {_VALID: 0.0 if measured or trial.violations else 1.0} | trial.violations
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a crashed process had set already is left as it is
            for name, violation in constraints.items():
                handle.set_constraint(name, violation)
        if measured:
            self._study.tell(handle, [trial.measurement[name] for name in self._objectives])
        else:
            self._study.tell(handle, state=TrialState.PRUNED)

    def _sample(self, handle: optuna.Trial, sample: Callable[[Any], Recipe]) -> Trial:
        recipe = sample(handle)
        handle.set_user_attr(_RECIPE, json.dumps(recipe.dump()))
        return Trial(handle.number, "running", recipe, dict(handle.params))

    def _handle(self, number: int) -> optuna.Trial:
        """Adopt a RUNNING trial. Optuna has no public way; a test pins this one."""
        frozen = self._study.get_trials(deepcopy=False)[number]
        return optuna.Trial(self._study, frozen._trial_id)

    def _next_number(self) -> int:
        """The number that the next ask gives: the first in the queue, else a new one."""
        known = self._study.get_trials(deepcopy=False)
        return next((t.number for t in known if t.state == TrialState.WAITING), len(known))

    def _sampler(self, number: int, explore: bool) -> optuna.samplers.BaseSampler:
        """Seeded by the trial, because a sampler's random state is not stored: resumed equals uninterrupted."""
        seed = (self._settings.seed * 1_000_003 + number) % 2**32
        if explore or self._settings.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=10, constant_liar=True)


def _outcome(trial: Trial) -> dict[str, Any]:
    """What Optuna's own columns do not hold."""
    return {k: v for k, v in vars(trial).items() if k not in ("number", "recipe", "params", "front")}


def _read(frozen: FrozenTrial) -> Trial:
    recipe = Recipe.load(json.loads(frozen.user_attrs.get(_RECIPE, "[]")))
    outcome = json.loads(frozen.user_attrs.get(_OUTCOME, '{"state": "running"}'))
    return Trial(frozen.number, recipe=recipe, params=dict(frozen.params), **outcome)
