"""What knobs and methods are worth: how much each decides who is among the best, and what changes with each method."""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

from autocompress.report.findings.gather import Findings


class Effect(NamedTuple):
    """A quantity's median over the trials with a method, and over those without."""

    method: str
    objective: str
    with_it: float
    without: float
    counts: tuple[int, int]

    def change(self, baseline: float) -> float:
        """As a share of the baseline's figure."""
        return (self.with_it - self.without) / baseline if baseline else 0.0


def ranked(found: dict[str, dict[str, float]]) -> list[str]:
    """The columns, the one that decides most over all objectives first."""
    total: dict[str, float] = {}
    for shares in found.values():
        for name, share in shares.items():
            total[name] = total.get(name, 0.0) + share
    return sorted(total, key=lambda name: (-total[name], name))


def effects(findings: Findings) -> list[Effect]:
    """Of every method that some measured recipes have and others have not."""
    measured, rows = findings.measured, findings.rows
    methods = dict.fromkeys(name for row in rows for name, value in row.items() if "." not in name)
    found = []
    for method in methods:
        sides = [[t.measurement for t, row in zip(measured, rows, strict=True) if row[method] is has]
                 for has in (True, False)]  # fmt: skip
        for objective in findings.goals.objectives:
            with_it, without = (median(m[objective] for m in side) for side in sides)
            found.append(Effect(method, objective, with_it, without, (len(sides[0]), len(sides[1]))))
    return found
