"""The study's memory: Optuna's storage, asked and told one trial at a time. What is written of each: `records`."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from autocompress.engine.optuna import records, samplers
from autocompress.engine.optuna.database import Database
from autocompress.engine.trial import Trial
from autocompress.space.goals import Direction
from autocompress.space.language.steps import Params
from autocompress.space.recipe import Recipe
from autocompress.space.settings import SearchSettings

_DECIDED, _QUEUE = "decided", "queue"
_VALID = "valid"  # the first constraint: 1 where a recipe cannot be carried out at all


class _Row(NamedTuple):
    """One trial in the mirror."""

    frozen: FrozenTrial  # as the database holds it
    seen: FrozenTrial  # as a sampler sees it
    trial: Trial


class Store:
    """One study in a database. Only one process may write to it.

    What the database holds is mirrored in memory, so that a sampler need not read it: written first, then mirrored.
    `trials` and `finish_told` bring the mirror up to date with what another process may have written before.
    """

    def __init__(
        self, path: Path | None, objectives: Mapping[str, Direction], settings: SearchSettings,
        points: Iterator[Params] | None = None, read: records.ReadRecipe = Recipe.read,
    ) -> None:  # fmt: skip
        """`path`: the database's file; None: in memory. `points`: the parameters of all recipes, if there is an end.

        `read`: how recipes are read that were written before.
        """
        self._read_recipe = read
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._settings = settings
        self._objectives = list(objectives)
        self._directions = list(objectives.values())
        self._points = points or iter(())
        self._database = Database(path, self._directions)
        self._queue: list[Params] = []
        self._mirror: list[_Row] = []  # by the trials' numbers
        self._tried: set[str] = set()  # the keys of their recipes
        self._decided: set[str] = set()  # what was taken from the queue or the grid
        self._refresh()

    def enqueue(self, params: Params) -> None:
        """Try these parameters before any sampled ones. Enqueued once however often this is called."""
        if params not in self._queue:
            self._database.write_note(_QUEUE, [*self._queue, params])
            self._queue.append(params)

    def ask(
        self, sample: Callable[[Any], Recipe], *, explore: bool = False, decided: Params | None = None
    ) -> Trial:  # fmt: skip
        """A new trial. `explore` gets a sampler out of repeating itself: what was not tried yet, else a random draw.

        `decided`: the parameters of a trial that no sampler proposed.

        It is sampled in a study in memory and then written whole. So a sampler's many small reads and writes cost
        nothing, and a crash leaves either nothing or a trial with all of its parameters.
        """
        sampler = self._sampler(len(self._mirror), explore or decided is not None)
        known, values = [row.seen for row in self._mirror], [self._values(row.trial) for row in self._mirror]
        sketch = samplers.sketch(samplers.as_seen(known, values, self._settings), self._directions, sampler)
        if decided is not None:
            sketch.enqueue_trial(decided)
        elif (queued := self._next_decided(sample, explore)) is not None:
            sketch.enqueue_trial(queued, user_attrs={_DECIDED: queued})
        handle = sketch.ask()
        recipe = sample(handle)
        handle.relative_params  # noqa: B018  asked for even where all is decided: NSGA-II notes its generation here
        handle.set_user_attr(records.RECIPE, json.dumps(recipe.dump()))
        frozen = sketch.get_trials(deepcopy=False)[-1]
        self._database.add(frozen)
        return self._reflect(frozen)

    def tell(self, trial: Trial) -> None:
        """Record the outcome for good."""
        measured = trial.state in ("complete", "duplicate") and trial.measurement.keys() >= set(self._objectives)
        before = self._mirror[trial.number].frozen
        told = copy.deepcopy(before)
        told.set_user_attr(records.OUTCOME, records.outcome(trial))
        # A trial that has no constraints counts as feasible.
        valid = measured or trial.violations or trial.state == "stopped"
        for name, violation in ({_VALID: 0.0 if valid else 1.0} | trial.violations).items():
            if told.constraints.get(name) is None:  # what an older version had set already is left as it is
                told.set_constraint(name, violation)
        told.values = [trial.measurement[name] for name in self._objectives] if measured else None
        told.state = TrialState.COMPLETE if measured else TrialState.PRUNED
        self._database.finish(before, told)
        self._reflect(told)

    def finish_told(self) -> None:
        """Tell again what a crash cut off between the outcome and the telling, in studies of older versions."""
        self._refresh()
        for row in [row for row in self._mirror if row.frozen.state == TrialState.RUNNING]:
            if records.OUTCOME in row.frozen.user_attrs:
                self.tell(row.trial)

    def trials(self) -> list[Trial]:
        """Every trial there is, in the order of their numbers."""
        self._refresh()
        return [row.trial for row in self._mirror]

    def _refresh(self) -> None:
        """Mirror what the database holds by now. A finished trial never changes."""
        self._queue = self._database.note(_QUEUE, [])
        for frozen in self._database.trials():
            if frozen.number >= len(self._mirror) or not self._mirror[frozen.number].frozen.state.is_finished():
                self._reflect(frozen)

    def _reflect(self, frozen: FrozenTrial) -> Trial:
        trial = records.trial(frozen.number, dict(frozen.params), frozen.user_attrs, self._read_recipe)
        row = _Row(frozen, samplers.Known(frozen), trial)
        self._mirror[frozen.number : frozen.number + 1] = [row]
        self._tried.add(row.trial.recipe.key)
        self._decided.add(json.dumps(frozen.user_attrs.get(_DECIDED), sort_keys=True))
        return row.trial

    def _next_decided(self, sample: Callable[[Any], Recipe], explore: bool) -> Params | None:
        """The parameters of the next trial where no sampler has a say: the queue's first, then the grid's next."""
        waiting = next((p for p in self._queue if json.dumps(p, sort_keys=True) not in self._decided), None)
        if waiting is not None or not (explore or self._settings.sampler == "grid"):
            return waiting
        for params in self._points:
            recipe = sample(optuna.trial.FixedTrial(params))
            if recipe.fault() is None and recipe.key not in self._tried:
                return params
        return None

    def _values(self, trial: Trial) -> samplers.Values:
        return [trial.measurement.get(name) for name in self._objectives]

    def _sampler(self, number: int, explore: bool) -> optuna.samplers.BaseSampler:
        return samplers.make(self._settings, number, len(self._objectives), explore=explore)
