"""Do a job in this process. It loads torch; what sends jobs does not."""

from __future__ import annotations

import traceback

from autocompress.errors import AutocompressError, ConfigError, Diverged, NotApplicable, NotFinite, Paused, Unmeasured
from autocompress.machine import cache, disk, fingerprint
from autocompress.machine.exclusive import Floor
from autocompress.methods.context import OnStep
from autocompress.space.recipe import Recipe
from autocompress.trials import arithmetic, work
from autocompress.trials.job import Failure, Job, Result
from autocompress.trials.put_aside import PutAside

_MEASURES = ("baseline", "rehearse", "evaluate", "remeasure", "replay")


def perform(job: Job, on_step: OnStep) -> Result:
    """Do the job. A recipe's own trouble becomes a `Failure`; trouble around it is raised."""
    arithmetic.keep_few_products()
    bench = work.bench_of(job.study)
    machine = fingerprint.machine(bench.target.device)
    if job.kind in _MEASURES and job.study.machine not in ({}, machine):
        return Result(failure=Failure(_elsewhere(job.study.machine, machine), expected=False), machine=machine)
    do = getattr(work, job.kind)
    try:
        with disk.pausing(), cache.lease(), Floor() as floor:
            recipe, told = Recipe.read(job.recipe), _pausing(on_step, floor)
            done = do(work.Work(bench, recipe, job.number, told, job.share, job.repeat, job.deadline))
        return Result(
            done.measurement, done.seconds, done.notes, rungs=done.rungs, rung_seconds=done.rung_seconds,
            trained=done.trained, left_out=done.left_out, machine=machine, computes_in=done.computes_in,
            predicted=done.predicted,
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


def _elsewhere(wanted: dict[str, str], machine: dict[str, str]) -> str:
    """Which facts of the machine differ, and how: two that share a CPU may not share its cores."""
    changed = ", ".join(
        f"{fact}: {wanted.get(fact, 'unknown')} there, {machine.get(fact, 'none')} here"
        for fact in dict.fromkeys([*wanted, *machine])
        if wanted.get(fact) != machine.get(fact)
    )
    return f"latencies of this study are measured on another machine than this worker's ({changed})"


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
