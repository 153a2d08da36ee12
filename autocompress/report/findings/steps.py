"""The chosen recipe, replayed: the baseline, then every step with what all up to it measures."""

from __future__ import annotations

from typing import NamedTuple

from autocompress.report.findings.gather import Findings
from autocompress.space.goals import Measurement

QUANTITIES = ("score", "latency_ms", "size_mb")


class Walked(NamedTuple):
    """One step."""

    names: tuple[str, ...]
    measurement: Measurement  # empty: not measured
    reason: str  # why not


def walked(findings: Findings) -> list[Walked]:
    """From the baseline on; the first alone, if nothing was chosen."""
    first = Walked(("baseline",), findings.baseline.measurement, "")
    replay = findings.replay
    return [first, *(Walked(s.added, s.measurement, s.reason) for s in (replay.steps if replay else ()))]
