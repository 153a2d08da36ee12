"""What is sent to an executor, and what comes back: plain data, so that it may cross processes and machines."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from autocompress.space.goals import Measurement
from autocompress.space.recipe import Steps

BASELINE = -1  # the baseline's trial number

Kind = Literal["baseline", "applies", "rehearse", "train", "evaluate", "remeasure", "judge", "replay"]


@dataclass(frozen=True)
class StudyData:
    """What every job of a study needs to know of it: nothing else is read of the study where the job is done."""

    id: str = ""
    space: dict[str, Any] = field(default_factory=dict)  # filled, as `SearchSpace.dump` gives it
    root: str = ""  # the folder that relative paths in the space start from
    artefacts: str = ""  # where what jobs make is kept: see `artefacts.find`
    inputs: dict[str, str] = field(default_factory=dict)  # what texts and checkpoints held when the study was made
    machine: dict[str, str] = field(default_factory=dict)  # the kind of machine whose latencies count
    reference_ms: float = math.nan  # the baseline's latency there
    more_reference_ms: dict[str, float] = field(default_factory=dict)  # of other runs: see `tasks.workload`
    computes_in: str = ""  # what its trainings compute in, once its baseline is known: see `trials.arithmetic`


@dataclass(frozen=True)
class Job:
    """One piece of work on one recipe of a study."""

    kind: Kind
    study: StudyData = StudyData()
    number: int = BASELINE
    recipe: Steps = field(default_factory=list)
    share: float = 1.0  # train: up to this share of the recipe's steps
    repeat: int = 0  # train, evaluate: 0 with the search's own seed, 1 and more with others
    deadline: float = math.inf  # seconds since 1970 at which a training is put aside


@dataclass(frozen=True)
class Failure:
    """Why a job gave no measurement. `expected`: the recipe's fault, not the program's."""

    reason: str
    expected: bool
    traceback: str = ""
    diverged: str = ""  # the key of the training that did
    limited: bool = False  # by a limit of this run: another may come further


@dataclass(frozen=True)
class Result:
    """What a job measured and how long its parts took, or why it failed."""

    measurement: Measurement = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failure: Failure | None = None
    rungs: dict[str, float] = field(default_factory=dict)  # share of the training -> score then, as far as known
    rung_seconds: dict[str, float] = field(default_factory=dict)  # share -> seconds of training steps by then
    trained: bool = True  # no training is left to do
    left_out: dict[str, str] = field(default_factory=dict)  # applies: where a method stands -> why it cannot act
    machine: dict[str, str] = field(default_factory=dict)  # where it was done
    computes_in: str = ""  # baseline: what the study's trainings compute in
    predicted: Measurement = field(default_factory=dict)  # rehearse: instead of measuring, with `_low` and `_high`
