"""What a worker's memory comes to, and whether it grows: about 10 minutes.

    python -m benchmarks.memory [--train FILE --text COLUMN --label COLUMN] [--trials 200]

Peak: a process that does all jobs of a trial of `builtin/minilm` on 1,200 short texts with soft labels, on one thread.
Bar: what teacher, student and optimizer hold (their parameters in float32; of what is trained a gradient and two
moments) and 500 MB. Growth: tiny trials, each with other knobs, one after the other in one process. Bar: from the
50th trial on it grows by no more than 10 MB, of five looks each the middle one.

Memory is what belongs to the process alone: its resident pages without those of files, which processes share. Linux.
Writes results/memory.{json,md}; exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from autocompress.machine import cache, fingerprint
from autocompress.space.recipe import Recipe
from autocompress.study import Study
from autocompress.trials import work
from benchmarks.growth import KINDS, project
from benchmarks.rehearsals import do
from benchmarks.rows import resident_mb
from benchmarks.workers import options, space

RESULTS = Path(__file__).resolve().parent / "results"
BESIDES_MB, GROWN_MB, SETTLED = 500.0, 10.0, 50
_LOOKS = 5  # in a row, of which the middle one counts: some fall into a moment when 25 MB wait to be given back
_EVERY = 0.02  # seconds between two looks


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--trials", type=int, default=200)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ |= {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "AUTOCOMPRESS_CACHE": f"{folder}/cache"}
        found = {"machine": fingerprint.machine(), "growth": growth(asked.trials), "peak": peak(asked)}
    (RESULTS / "memory.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "memory.md").write_text(table(found))
    print(table(found))
    return 0 if all(met for _, met in bars(found)) else 1


def begun(name: str) -> Study:
    """A study whose baseline is measured."""
    study = Study.create(Path(f"{name}.yaml"))
    measured = do(study, "baseline").measurement
    cache.write_json(study.folder / "study.json", study.record | {"baseline": {"measurement": measured, "seconds": {}}})
    return study


def growth(trials: int) -> dict[str, float]:
    """Megabytes after so many trials."""
    project(layers=2, rows=200)
    study, after = begun("growth"), {}
    for number in range(trials):
        steps: Any = [{"neurons": {"keep": 0.3 + 0.6 * number / trials, "multiple": 8}}, {"soft_labels": {}}]
        steps += [{"finetune": {"epochs": 1, "lr": 1e-4 * (1 + number)}}, {"int8_dynamic": {}}]
        for kind in KINDS:
            do(study, kind, number, Recipe.load(steps).dump())
        if (number + 1) % 10 == 0:
            after[str(number + 1)] = resident_mb()
            print(number + 1, f"{resident_mb():.0f} MB", file=sys.stderr, flush=True)
    return after


def peak(asked: argparse.Namespace) -> dict[str, float]:
    """Megabytes of the trial at most, above what the process had, and of the parts that the bar is made of."""
    Path("peak.yaml").write_text(json.dumps(space(asked)))
    study = begun("peak")
    work.loaded.cache_clear()  # a worker has not trained the teacher
    steps: Any = Recipe.load([{"soft_labels": {}}, {"finetune": {"epochs": 1}}, {"int8_dynamic": {}}]).dump()
    with watched() as seen:
        for kind in KINDS:
            do(study, kind, 0, steps)
    model = work.bench_of(study.data).teacher.model
    tables = {m.weight for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    whole, frozen = (sum(p.numel() * 4e-6 for p in parameters) for parameters in (model.parameters(), tables))
    return {"most": max(seen), "teacher": whole, "student": whole, "optimizer": 3 * (whole - frozen)}


@contextmanager
def watched() -> Iterator[list[float]]:
    """Megabytes, again and again."""
    seen, done = [resident_mb()], threading.Event()

    def look() -> None:
        while not done.wait(_EVERY):
            seen.append(resident_mb())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def bars(found: dict[str, Any]) -> list[tuple[str, bool]]:
    parts, after = found["peak"], found["growth"]
    most = parts["teacher"] + parts["student"] + parts["optimizer"] + BESIDES_MB
    out = [(f"a worker takes {parts['most']:.0f} MB at most: {most:.0f}", parts["most"] <= most)]
    later = [mb for number, mb in after.items() if int(number) >= SETTLED]
    if later:
        grown = statistics.median(later[-_LOOKS:]) - statistics.median(later[:_LOOKS])
        out.append(
            (f"from trial {SETTLED} to {max(map(int, after))} it grows by {grown:.1f} MB: 10", grown <= GROWN_MB)
        )
    return out


def table(found: dict[str, Any]) -> str:
    """As markdown."""
    lines = ["# Memory", "", "MB of one process, pages of files not counted.", "", "| after trials | MB |", "|---|---|"]
    lines += [f"| {number} | {mb:.0f} |" for number, mb in found["growth"].items() if int(number) % 50 == 0]
    lines += ["", "| a trial of MiniLM | MB |", "|---|---|"]
    lines += [f"| {name} | {mb:.0f} |" for name, mb in found["peak"].items()]
    return "\n".join([*lines, "", *(f"- {'met' if met else 'MISSED'}: {bar}." for bar, met in bars(found)), ""])


if __name__ == "__main__":
    sys.exit(main())
