"""The study's memory: Optuna's storage, asked and told one trial at a time. The only importer of optuna.

What Optuna has no column for (why a recipe was refused, what was measured besides the objectives) is one JSON attribute
of the trial, written before the trial is told. So a trial that a crash left RUNNING either has its outcome, and is told
again, or has only its parameters, and is run.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from autocompress import samplers
from autocompress.goals import Direction
from autocompress.ledger import Trial
from autocompress.recipe import Recipe
from autocompress.settings import SearchSettings

Params = dict[str, Any]  # what a sampler varies, by its name in the space

_OUTCOME, _RECIPE, _DECIDED, _QUEUE = "autocompress", "recipe", "decided", "queue"
_VALID = "valid"  # the first constraint: 1 where a recipe cannot be carried out at all


class Store:
    """One study in a database. Only one process may write to it."""

    def __init__(
        self, path: Path | None, name: str, objectives: Mapping[str, Direction], settings: SearchSettings,
        points: Iterator[Params] | None = None,
    ) -> None:  # fmt: skip
        """`path`: the database's file; None: in memory. `points`: the parameters of all recipes, if there is an end."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._settings = settings
        self._objectives = list(objectives)
        self._directions = list(objectives.values())
        self._points = points or iter(())
        self._study = optuna.create_study(
            study_name=name, storage=_database(path) if path else None, load_if_exists=True,
            directions=self._directions,
            sampler=optuna.samplers.RandomSampler(),  # never asked: sampling happens in a copy
        )  # fmt: skip

    def enqueue(self, params: Params) -> None:
        """Try these parameters before any sampled ones. Enqueued once however often this is called."""
        queue = self._study.user_attrs.get(_QUEUE, [])
        if params not in queue:
            self._study.set_user_attr(_QUEUE, [*queue, params])

    def ask(
        self, sample: Callable[[Any], Recipe], *, explore: bool = False, decided: Params | None = None
    ) -> Trial:  # fmt: skip
        """A new trial. `explore` gets a sampler out of repeating itself: what was not tried yet, else a random draw.

        It is sampled in a copy of the study in memory and then written whole. So a sampler's many small reads and
        writes cost nothing, and a crash leaves either nothing or a trial with all of its parameters.
        """
        known = self._study.get_trials(deepcopy=False)
        copy = optuna.create_study(directions=self._directions, sampler=self._sampler(len(known), explore))
        copy.add_trials(samplers.lessons(known, [self._values(t) for t in known], self._settings))
        if decided is not None:
            copy.enqueue_trial(decided)
        elif (decided := self._decided(known, sample, explore)) is not None:
            copy.enqueue_trial(decided, user_attrs={_DECIDED: decided})
        handle = copy.ask()
        recipe = sample(handle)
        handle.relative_params  # noqa: B018  asked for even where all is decided: NSGA-II notes its generation here
        handle.set_user_attr(_RECIPE, json.dumps(recipe.dump()))
        self._study.add_trial(copy.get_trials(deepcopy=False)[-1])
        return Trial(handle.number, "running", recipe, dict(handle.params))

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
        """Every trial there is, in the order of their numbers."""
        return [_read(t) for t in self._study.get_trials(deepcopy=False)]

    def _finish(self, handle: optuna.Trial, trial: Trial) -> None:
        """Constraints first, always in the same order: a trial that has none counts as feasible."""
        measured = trial.state in ("complete", "duplicate") and trial.measurement.keys() >= set(self._objectives)
        constraints = {
            _VALID: 0.0 if measured or trial.violations or trial.state == "stopped" else 1.0
        } | trial.violations
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a crashed process had set already is left as it is
            for name, violation in constraints.items():
                handle.set_constraint(name, violation)
        if measured:
            self._study.tell(handle, [trial.measurement[name] for name in self._objectives])
        else:
            self._study.tell(handle, state=TrialState.PRUNED)

    def _handle(self, number: int) -> optuna.Trial:
        """Adopt a RUNNING trial. Optuna has no public way; a test pins this one."""
        frozen = self._study.get_trials(deepcopy=False)[number]
        return optuna.Trial(self._study, frozen._trial_id)

    def _decided(self, known: list[FrozenTrial], sample: Callable[[Any], Recipe], explore: bool) -> Params | None:
        """The parameters of the next trial where no sampler has a say: the queue's first, then the grid's next."""
        done = [t.user_attrs.get(_DECIDED) for t in known]
        waiting: list[Params] = [params for params in self._study.user_attrs.get(_QUEUE, []) if params not in done]
        if waiting or not (explore or self._settings.sampler == "grid"):
            return waiting[0] if waiting else None
        tried = {_recipe(t).key for t in known}
        for params in self._points:
            recipe = sample(optuna.trial.FixedTrial(params))
            if recipe.fault() is None and recipe.key not in tried:
                return params
        return None

    def _values(self, frozen: FrozenTrial) -> samplers.Values:
        measurement = json.loads(frozen.user_attrs.get(_OUTCOME, "{}")).get("measurement", {})
        return [measurement.get(name) for name in self._objectives]

    def _sampler(self, number: int, explore: bool) -> optuna.samplers.BaseSampler:
        return samplers.make(self._settings, number, explore=explore)


def _database(path: Path) -> str:
    """SQLite with a write-ahead log: half the waiting of a rollback journal, others may read while a search writes, and
    what is told is on the disk before the search goes on (`synchronous` stays FULL), so not even a power cut loses it.
    """
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    return f"sqlite:///{path}"


def _outcome(trial: Trial) -> dict[str, Any]:
    """What Optuna's own columns do not hold."""
    return {k: v for k, v in vars(trial).items() if k not in ("number", "recipe", "params", "front")}


def _read(frozen: FrozenTrial) -> Trial:
    outcome = json.loads(frozen.user_attrs.get(_OUTCOME, '{"state": "running"}'))
    return Trial(frozen.number, recipe=_recipe(frozen), params=dict(frozen.params), **outcome)


def _recipe(frozen: FrozenTrial) -> Recipe:
    return Recipe.load(json.loads(frozen.user_attrs[_RECIPE]))
