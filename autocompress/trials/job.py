"""What is sent to an executor, and what comes back: plain data, so that it may cross processes and machines."""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from autocompress.errors import AutocompressError, ConfigError, Diverged, NotApplicable, NotFinite, Paused, Unmeasured
from autocompress.machine import cache, disk
from autocompress.machine.exclusive import Floor
from autocompress.methods.context import OnStep
from autocompress.search.trial import Measurement
from autocompress.space.recipe import Recipe, Steps
from autocompress.trials import work
from autocompress.trials.put_aside import PutAside

Kind = Literal["baseline", "applies", "rehearse", "train", "evaluate", "remeasure", "judge"]


@dataclass(frozen=True)
class Job:
    """One piece of work on one recipe of the study in `folder`."""

    kind: Kind
    folder: str
    number: int = -1
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


def perform(job: Job, on_step: OnStep) -> Result:
    """Do the job in this process. A recipe's own trouble becomes a `Failure`; trouble around it is raised."""
    bench = work.workbench(Path(job.folder))
    do = getattr(work, job.kind)
    try:
        with disk.pausing(), cache.lease(), Floor() as floor:
            recipe, told = Recipe.read(job.recipe), _pausing(on_step, floor)
            done = do(work.Work(bench, recipe, job.number, told, job.share, job.repeat, job.deadline))
        return Result(
            done.measurement, done.seconds, done.notes, rungs=done.rungs, rung_seconds=done.rung_seconds,
            trained=done.trained, left_out=done.left_out,
        )  # fmt: skip
    except PutAside:
        return Result(trained=False)
    except Diverged as e:
        return Result(failure=Failure(str(e), expected=True, diverged=e.stage))
    except (NotApplicable, NotFinite, Unmeasured) as e:
        return Result(failure=Failure(str(e), expected=True))
    except (ConfigError, Paused):
        raise
    except Exception as e:
        return Result(failure=_classify(e))


def _pausing(on_step: OnStep, floor: Floor) -> OnStep:
    """Training pauses after a step while somebody on this machine measures."""

    def after(step: int, steps: int, loss: float) -> None:
        on_step(step, steps, loss)
        floor.after_step(last=step == steps)

    return after


def _classify(error: Exception) -> Failure:
    """Out of memory is the recipe's fault; anything else is ours."""
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    memory = isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text
    expected = memory or isinstance(error, AutocompressError)
    return Failure(f"out of memory ({text})" if memory else text, expected, traceback.format_exc())
