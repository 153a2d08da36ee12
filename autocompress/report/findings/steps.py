"""The chosen recipe, replayed: the baseline, then every step with what all up to it measures."""

from __future__ import annotations

from typing import NamedTuple

from autocompress.report.findings.gather import Findings
from autocompress.report.tables import step_name
from autocompress.space.goals import Measurement

QUANTITIES = ("score", "latency_ms", "size_mb")


class Walked(NamedTuple):
    """One step."""

    names: tuple[str, ...]
    measurement: Measurement  # empty: not measured
    reason: str  # why not


def walked(findings: Findings) -> list[Walked]:
    """From the baseline on; the first alone, if nothing was chosen."""
    names, steps = iter(_names(findings)), findings.replay.steps if findings.replay else ()
    walked = [Walked(tuple(next(names) for _ in step.added), step.measurement, step.reason) for step in steps]
    return [Walked(("baseline",), findings.baseline.measurement, ""), *walked]


def _names(findings: Findings) -> list[str]:
    """The methods of the chosen recipe, with how much they keep: `layers 0.5`."""
    recipe = findings.winner.recipe if findings.winner else ()
    return [step_name(method) for method in recipe]
