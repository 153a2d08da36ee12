"""What a search will take: hours, disk and memory, and how many of its recipes can meet its limits at all."""

from __future__ import annotations

import shutil
import statistics
from itertools import islice

import psutil

from autocompress.errors import ConfigError, NotApplicable
from autocompress.machine.entries import cache_root
from autocompress.machine.eviction import limit_bytes
from autocompress.planning.draws import draws
from autocompress.planning.pace import Pace
from autocompress.planning.rehearsals import Rehearsals, Say
from autocompress.planning.untaught import Untaught, peak_gb, untaught
from autocompress.space.goals import Measurement
from autocompress.space.search_space import SearchSpace
from autocompress.space.settings import Settings
from autocompress.trials.applicability import not_applicable

_GB = 1e9


class Estimate(Settings):
    """Seconds are those of one worker on this machine, at least and at most where that is not known before."""

    texts: dict[str, int]  # by split
    baseline: Measurement
    recipes: int | None  # in the space; None: no end of them
    trials: int
    rehearsed: int
    feasible: int  # of those: they meet every limit that is known before training
    refused: dict[str, int]  # by limit, or by why they cannot be carried out
    nearest: dict[str, float]  # of each such limit the best figure that was seen
    left_out: dict[str, str]  # where methods stand that cannot act on the model -> why
    step_seconds: float  # of the whole model; 0: nothing is trained
    teacher_seconds: tuple[float, float]
    trial_seconds: float
    confirm_seconds: float
    disk_gb: float  # at most
    disk_free_gb: float
    memory_gb: float
    memory_free_gb: float

    @property
    def search_seconds(self) -> tuple[float, float]:
        """All of it."""
        least, most = self.teacher_seconds
        rest = self.trials * self.trial_seconds + self.confirm_seconds
        return least + rest, most + rest


def estimate(space: SearchSpace, say: Say = lambda said: None) -> Estimate:
    """Of a search of `space`. Takes a minute or two; `say` is told what goes on.

    Raises `ConfigError` for data, a model or a target that cannot be used.
    """
    with untaught(space) as bench:
        say("measuring the uncompressed model")
        try:
            baseline = bench.measure_baseline()
        except NotApplicable as e:
            raise ConfigError(f"target: it should be one that runs the model. {e}. Choose another.") from e
        say("asking every method whether it can act on this model")
        left_out = not_applicable(bench)
        searched = space.without(left_out)
        if searched is None:
            reasons = "; ".join(f"{at.rpartition('.')[2]}: {why}" for at, why in left_out.items())
            raise ConfigError(f"steps: there should be a recipe that can act on {space.model}. {reasons}.")
        tried = Rehearsals(bench, searched, baseline, say)
        say("timing training steps")
        return _summed(bench, tried, baseline, left_out)


def _summed(bench: Untaught, tried: Rehearsals, baseline: Measurement, left_out: dict[str, str]) -> Estimate:
    pace, size = Pace(bench), tried.space.size
    trials = bench.space.search.trials if size is None else min(bench.space.search.trials, size)
    trial, confirm = _trial_seconds(bench, pace, tried, baseline), bench.space.search.confirm
    trained = next((m for recipe in islice(draws(tried.space), 20) for m in recipe if m.trains), None)
    # a trial leaves its module in float32, in the cache too, and its artefact
    kept = trials * (2 * baseline["parameters"] * 4 + baseline["size_mb"] * 1e6)
    return Estimate(
        texts=bench.task.texts.rows, baseline=baseline, recipes=size, trials=trials,
        rehearsed=len(tried.seconds), feasible=len(tried.feasible),
        refused=dict(tried.refused.most_common()), nearest=tried.nearest, left_out=left_out,
        step_seconds=pace.step(trained) if trained else 0.0, teacher_seconds=pace.teacher(), trial_seconds=trial,
        confirm_seconds=confirm.top * (confirm.seeds - 1) * trial,
        disk_gb=min(kept, limit_bytes() + kept / 2) / _GB, disk_free_gb=_room(), memory_gb=peak_gb(),
        memory_free_gb=psutil.virtual_memory().available / _GB,
    )  # fmt: skip


def _trial_seconds(bench: Untaught, pace: Pace, tried: Rehearsals, baseline: Measurement) -> float:
    """The mean of those that would be trained; where none would be, of any, as if they were no smaller."""
    sample = tried.feasible or [(recipe, baseline) for recipe in islice(draws(tried.space), 8)]
    trained = statistics.fmean(pace.training(recipe, m["flops"] / baseline["flops"]) for recipe, m in sample)
    batches = len(bench.task.validation) / bench.target.batch_size
    return trained + batches * baseline["latency_ms"] / 1000 + statistics.fmean(tried.seconds)


def _room() -> float:
    place = next(folder for folder in (cache_root(), *cache_root().parents) if folder.exists())
    return shutil.disk_usage(place).free / _GB
