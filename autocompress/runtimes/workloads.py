"""Time the runs of a kind of task, each beside the baseline's.

The figures of a second run are named after it, as `token_speedup`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autocompress.runtimes import isolated, latency
from autocompress.runtimes.continued import continued
from autocompress.runtimes.runtime import Session
from autocompress.space.goals import Measurement
from autocompress.space.settings import Target
from autocompress.tasks.workload import Workload

_ALONE: Measurement = {"speedup": 1.0, "speedup_low": 1.0, "speedup_high": 1.0, "latency_tail": 1.0}
_RATIOS = tuple(_ALONE)


def ratios(candidate: Session, baseline: Session, runs: Sequence[Workload], target: Target) -> Measurement:
    """What `latency.latency` tells of every run."""
    found: Measurement = {}
    for run in runs:
        ours, theirs = (continued(session, run.before) for session in (candidate, baseline))
        found |= _named(run, latency.latency(ours, theirs, run.batch, target))
    return found


def isolated_ratios(candidate: Path, baseline: Path, runs: Sequence[Workload], target: Target) -> Measurement:
    """The same of the artefacts in two folders, in processes of their own."""
    found: Measurement = {}
    for run in runs:
        more = {} if run.before is None else {"before": run.before}
        found |= _named(run, isolated.latency(candidate, baseline, run.batch, target, **more))
    return found


def references(baseline: Session, runs: Sequence[Workload], target: Target) -> dict[str, float]:
    """The baseline's milliseconds, by what the names of a run's figures begin with."""
    return {run.figures: latency.absolute_latency(continued(baseline, run.before), run.batch, target) for run in runs}


def of_baseline(references: Mapping[str, float]) -> Measurement:
    """Its figures beside itself."""
    alone = {f"{figures}{name}": value for figures in references for name, value in _ALONE.items()}
    return in_milliseconds(alone, references)


def in_milliseconds(measured: Measurement, references: Mapping[str, float]) -> Measurement:
    """Add what follows from the ratios of every run once the baseline's latency on this machine is known."""
    for figures, reference_ms in references.items():
        own = {name: measured[f"{figures}{name}"] for name in _RATIOS}
        told = latency.in_milliseconds(own, reference_ms)
        measured = measured | {f"{figures}{name}": value for name, value in told.items()}
    return measured


def _named(run: Workload, figures: Measurement) -> Measurement:
    return {f"{run.figures}{name}": value for name, value in figures.items()}
