"""What each step of a recipe gives and costs: the recipe is carried out step by step, and measured after each.

Steps that only act in a later training (a loss, gates) are replayed together with it. The last step is the trial
itself, whose figures are known. What the steps measured is kept with the study; so is the reason of one that could not
be, unless only this run's limits were in the way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from autocompress.engine.events import Observer
from autocompress.engine.scheduler import Life
from autocompress.engine.trial import Trial
from autocompress.machine import fault_points
from autocompress.space.goals import Measurement
from autocompress.space.recipe import Recipe
from autocompress.trials.artefacts import Artefacts, find
from autocompress.trials.job import Job, StudyData

_FILE = "attribution.json"
_NOTHING: dict[str, Any] = {"cuts": [], "found": {}}


@dataclass(frozen=True)
class Step:
    """One bar of the figure: what was added to the recipe, and what all of it up to here measures."""

    added: tuple[str, ...]  # the methods' names
    measurement: Measurement  # empty: not measured
    reason: str = ""  # why not


@dataclass(frozen=True)
class Replay:
    """A recipe's steps, without the baseline."""

    steps: tuple[Step, ...]

    @property
    def complete(self) -> bool:
        """Whether all is known that ever will be."""
        return all(step.measurement or step.reason for step in self.steps)


def known(artefacts: Artefacts, trial: Trial) -> Replay:
    """What is known of a trial's steps so far."""
    kept = _read(artefacts).get(str(trial.number), _NOTHING)
    steps, begin = [], 0
    for end in kept["cuts"] or cuts(trial.recipe):
        found = kept["found"].get(str(end), {}) if end < len(trial.recipe) else _as_found(trial)
        names = tuple(method.name for method in trial.recipe[begin:end])
        steps.append(Step(names, found.get("measurement", {}), found.get("reason", "")))
        begin = end
    return Replay(tuple(steps))


def _as_found(trial: Trial) -> dict[str, Any]:
    """The whole recipe is the trial itself."""
    return {"measurement": trial.measurement}


def cuts(recipe: Recipe) -> list[int]:
    """After how many methods the recipe can be measured: nothing waits for a training then."""
    return [end for end in range(1, len(recipe) + 1) if Recipe(recipe[:end]).fault() is None]


def lives(study: StudyData, trial: Trial, observer: Observer) -> Iterator[Life]:
    """What is left to replay of a trial, a life a step. Loads the methods, of which a study's record does not know all
    that decides where a recipe can be cut.
    """
    artefacts = find(study.artefacts)
    every = _read(artefacts)
    kept = every.setdefault(str(trial.number), _NOTHING | {"cuts": cuts(Recipe.load(trial.recipe.dump()))})
    artefacts.write(_FILE, json.dumps(every, indent=1))
    for end in kept["cuts"]:
        if end < len(trial.recipe) and str(end) not in kept["found"]:
            yield _life(study, artefacts, trial, end, observer)


def _life(study: StudyData, artefacts: Artefacts, trial: Trial, end: int, observer: Observer) -> Life:
    job = Job("replay", study, trial.number, trial.recipe.dump()[:end])
    observer.begin(job)
    result = yield job
    failure = result.failure
    if failure is None and result.trained:  # else the time is up: it was put aside
        fault_points.point("replayed")
        _keep(artefacts, trial, end, {"measurement": result.measurement})
    elif failure and failure.expected and not failure.limited:
        _keep(artefacts, trial, end, {"reason": failure.reason})
    observer.replayed(trial, Recipe(trial.recipe[:end]), failure.reason if failure else "")


def _read(artefacts: Artefacts) -> dict[str, dict[str, Any]]:
    """Trial -> where its recipe is cut, and what became of the steps up to each."""
    kept: dict[str, dict[str, Any]] = json.loads(artefacts.read(_FILE) or "{}")
    return kept


def _keep(artefacts: Artefacts, trial: Trial, end: int, found: dict[str, Any]) -> None:
    kept = _read(artefacts)
    kept[str(trial.number)]["found"][str(end)] = found
    artefacts.write(_FILE, json.dumps(kept, indent=1))
