"""What searches of five minutes come to: the script of an afternoon, and autocompress on one core and on all.

    python -m benchmarks.five_minutes --train TRAIN --test TEST [--seconds 300] [--seeds 2] [--limit 1200]

MiniLM on short texts (parquet, columns text and label), on the teacher, space and limits of `versus_by_hand.py`; the
last row's space ends in `one_of: [int8_dynamic, int8_static]`, which has many variants a training. Each search has a
process and a cache of its own. Counted are trainings that began, models that were measured, the feasible hypervolume,
and the shares of the time of all workers. About 20 minutes a seed on 2 quiet cores; goes on where it stopped; works in
`five_minutes/` of the working directory. Bars: 10 trainings begin in the last row in the mean, and with one worker
rehearsals take less than 4 % of the time. Writes `results/five_minutes.{json,md}`; exit code 1 if one is missed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from autocompress.errors import NothingFeasible
from autocompress.machine import fingerprint
from autocompress.study import Study
from benchmarks import versus_by_hand
from benchmarks.fronts import BEGAN, LIMITS, check_whole, prepared, volume

RESULTS = Path(__file__).resolve().parent / "results"
WORK = Path("five_minutes")
STAGES = ("train", "rehearse", "lower", "evaluate", "measure")
SCRIPT, ALONE, STATIC = "by hand", "one worker", "two kinds of int8"
SIDES = {SCRIPT: "1", ALONE: "1", "all cores": "auto", STATIC: "auto"}  # -> workers
LEAST, MOST_REHEARSED = 10, 0.04


def space(side: str, teacher: Path, data: Path, seed: int) -> dict[str, Any]:
    found = versus_by_hand.space(teacher, data, seed)
    if side == STATIC:
        found["steps"][-1] = {"one_of": ["int8_dynamic", "int8_static"]}
    return found


def ours(to: Path, workers: str, seconds: float) -> None:
    """Search in this process."""
    study = Study.create(to / "space.yaml", to.name)
    with suppress(NothingFeasible):  # it is what the table says then
        study.run(timeout=seconds - (time.time() - BEGAN), workers="auto" if workers == "auto" else 1, report=False)
    check_whole(study)
    baseline, took = study.baseline, Counter[str]()
    assert baseline is not None
    for trial in study.trials:
        took.update(trial.seconds)
    found = {
        "trained": sum(t.charged for t in study.trials), "stopped": sum(t.state == "stopped" for t in study.trials),
        "failed": sum(t.state == "failed" for t in study.trials),
        "measured": sum(t.state == "complete" for t in study.trials), "took": took,
        "points": [{n: t.measurement[n] / baseline.measurement[n] for n in LIMITS} for t in study.trials if t.feasible],
    }  # fmt: skip
    (to / "found.json").write_text(json.dumps(found))


def theirs(to: Path) -> dict[str, Any]:
    """What the script wrote down, in the same shape. It scores and measures in one go."""
    base, *rows = [json.loads(line) for line in (to / "trials.jsonl").read_text().splitlines()]
    took = Counter[str]()
    for row in rows:
        took.update(row["took"])
    points = [{name: row[name] / base[name] for name in LIMITS} for row in rows]
    return {
        "trained": len(rows), "stopped": 0, "failed": 0, "measured": len(rows), "took": took, "points": points,
    }  # fmt: skip


def searched(side: str, seed: int, data: Path, teacher: Path, seconds: float) -> dict[str, Any]:
    """One search, unless it is there."""
    to = WORK / f"{side.replace(' ', '-')}-{seed}"
    done = to / ("tested.json" if side == SCRIPT else "found.json")
    if not done.exists():
        for stale in (to, Path("studies") / to.name, WORK / "cache"):
            shutil.rmtree(stale, ignore_errors=True)
        to.mkdir(parents=True)
        (to / "space.yaml").write_text(yaml.safe_dump(space(side, teacher, data, seed), sort_keys=False))
        own = ["benchmarks.five_minutes", "--ours", to, "--workers", SIDES[side]]
        hand = ["benchmarks.by_hand", "--teacher", teacher, "--data", data, "--to", to, "--seed", seed]
        command = [*(hand if side == SCRIPT else own), "--seconds", seconds]
        cache = {"AUTOCOMPRESS_CACHE": str((WORK / "cache").resolve())}
        subprocess.run([sys.executable, "-m", *map(str, command)], check=True, env=os.environ | cache)
    found: dict[str, Any] = theirs(to) if side == SCRIPT else json.loads(done.read_text())
    return found


def bars(found: dict[str, list[dict[str, Any]]], seconds: float) -> list[tuple[str, bool]]:
    trained = statistics.mean(run["trained"] for run in found[STATIC])
    rehearsed = statistics.mean(run["took"].get("rehearse", 0) for run in found[ALONE]) / seconds
    return [
        (f"{STATIC}: {trained:g} trainings begin: {LEAST}", trained >= LEAST),
        (f"{ALONE}: {rehearsed:.1%} of the time for rehearsals: {MOST_REHEARSED:.0%}", rehearsed < MOST_REHEARSED),
    ]


def markdown(found: dict[str, list[dict[str, Any]]], seconds: float, about: str) -> str:
    head = f"| | trained | measured | feasible hypervolume | {' | '.join(STAGES)} |\n|{'---|' * (4 + len(STAGES))}\n"
    lines = []
    for side, runs in found.items():
        workers = (os.cpu_count() or 1) if SIDES[side] == "auto" else 1
        shares = [statistics.mean(r["took"].get(s, 0) for r in runs) / (seconds * workers) for s in STAGES]
        trained = ", ".join(f"{r['trained']}" + (f" ({r['stopped']} stopped)" if r["stopped"] else "") for r in runs)
        cells = [trained, ", ".join(str(r["measured"]) for r in runs)]
        cells += [", ".join(f"{volume(r['points'], 'score'):.2f}" for r in runs), *(f"{s:.0%}" for s in shares)]
        lines.append(f"| {side} | {' | '.join(cells)} |")
    lines += ["", *(f"- {'met' if met else 'MISSED'}: {bar}." for bar, met in bars(found, seconds)), ""]
    return f"# Searches of {seconds:g} s\n\n{about}\n\n{head}" + "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--limit", type=int, default=1200)
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--workers", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ours:
        ours(asked.ours, asked.workers, asked.seconds)
        return 0
    data, teacher = prepared(asked, WORK)
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for seed in range(asked.seeds):
        for side in SIDES:
            found[side].append(searched(side, seed, data, teacher, asked.seconds))
    about = f"{asked.limit} training texts. {fingerprint.machine('cpu')['cpu']}, {datetime.date.today()}."
    (RESULTS / "five_minutes.json").write_text(json.dumps({"about": about, "found": found}, indent=1) + "\n")
    (RESULTS / "five_minutes.md").write_text(markdown(found, asked.seconds, about))
    print((RESULTS / "five_minutes.md").read_text())
    return 0 if all(met for _, met in bars(found, asked.seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
