"""A real search space of 108 recipes, every one of which was trained and measured: `results/tabulated.parquet`."""

from __future__ import annotations

import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any

from pyarrow import parquet

from autocompress.engine.front.hypervolume import hypervolume
from autocompress.space.goals import Goals, Measurement
from autocompress.space.recipe import Recipe
from autocompress.space.rungs import share_name
from autocompress.space.search_space import SearchSpace
from autocompress.trials.job import Job
from benchmarks.simulation import Answer

FILE = Path(__file__).parent / "results" / "tabulated.parquet"
LIMITS = [
    "score >= 0.9 * baseline",
    "latency_ms <= 0.25 * baseline",
    "size_mb <= 0.7 * baseline",
]  # 36 recipes meet them


class Tabulated:
    """The problem as `simulation.Simulation` asks it."""

    trials = 24

    def __init__(self) -> None:
        table = parquet.read_table(FILE)
        self._facts = json.loads(table.schema.metadata[b"autocompress"])
        self.baseline: Measurement = self._facts["baseline"]
        self._rows = {Recipe.load(json.loads(row["recipe"])).key: row for row in table.to_pylist()}

    def space(self, **search: Any) -> SearchSpace:
        """The space that the table was made of, with limits."""
        return SearchSpace.parse(self._facts["space"] | {"constraints": LIMITS, "search": search})

    @cached_property
    def _goals(self) -> Goals:
        return self.space().goals

    def answer(self, job: Job) -> Answer:
        row = self._rows[Recipe.load(job.recipe).key]
        if job.kind == "rehearse":
            return Answer({n: row[n] for n in _BEFORE}, row["seconds_rehearse"])
        if job.kind == "evaluate":
            return Answer({n: row[n] for n in (*_BEFORE, "score")}, sum(row[f"seconds_{n}"] for n in _MEASURING))
        name = share_name(job.share)
        return Answer({}, row[f"rung_seconds_{name}"], row[f"rung_{name}"] if job.share < 1 else None)

    def volume(self, measurements: list[Measurement]) -> float:
        """From the limits on, as a share of the box to no latency, no bytes and the baseline's own score."""
        limits = [c.limit(self.baseline) for c in self._goals.constraints]
        feasible = [m for m in measurements if all(v <= 0 for v in self._goals.violations(m, self.baseline).values())]
        corner = (-limits[0], limits[1], limits[2])
        box = math.prod((self.baseline["score"] - limits[0], *limits[1:]))
        return hypervolume([(-m["score"], m["latency_ms"], m["size_mb"]) for m in feasible], corner) / box

    def best(self) -> float:
        """Of all there is."""
        return self.volume([{n: row[n] for n in (*_BEFORE, "score")} for row in self._rows.values()])


_BEFORE = ("latency_ms", "latency_ms_high", "size_mb")
_MEASURING = ("lower", "evaluate", "measure")
