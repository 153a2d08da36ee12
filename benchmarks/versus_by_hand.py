"""A search of ours beside the script of an afternoon (`by_hand.py`): the same model, texts, space, limits and seconds.

    python -m benchmarks.versus_by_hand --train TRAIN --test TEST [--seconds 1200] [--seeds 3] [--limit 1200]

The files are parquet with the columns text and label; both sides get the same validation split, and the same teacher,
which is fine-tuned once with the Trainer. Latencies and sizes are counted against each side's own measurement of the
teacher. A front's worth is its feasible hypervolume: the share of the box between the limits and no latency, no bytes
and an error of nothing. It is taken on the validation texts, by which both search, and on the test texts, on which what
each has found is judged afterwards. Sides take turns seed by seed, so two runs of `--seconds` a seed: two hours in all.
Goes on where it stopped; works in `versus/` of the working directory. Writes `results/versus_by_hand.{json,md}`. Bars:
ours comes to the script's last hypervolume in a fifth of its time, and ends higher in the mean of the seeds on both.
Exit code 1 if one is missed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from autocompress.engine.trial import Trial
from autocompress.machine import fingerprint
from autocompress.study import Study
from autocompress.trials.artefacts import trial_key
from benchmarks.fronts import BEGAN, LIMITS, Clock, Point, check_whole, posed, prepared, reached, volume

RESULTS = Path(__file__).resolve().parent / "results"
WORK = Path("versus")
BAR = 0.2  # of the script's time


def space(teacher: Path, data: Path, seed: int) -> dict[str, Any]:
    """The script's space."""
    return posed(teacher, data, 64) | {
        "search": {"trials": 1000, "seed": seed, "confirm": {"top": 0}},
        "steps": [
            {"one_of": ["skip", {"layers": {"keep": [0.34, 0.5, 0.67, 0.84], "strategy": "alternate"}}]},
            {"one_of": ["skip", {"neurons": {"keep": [0.25, 0.5, 0.75], "importance": "l2"}}]},
            {"one_of": ["skip", {"soft_labels": {"temperature": 2.0, "weight": 1.0}}]},
            {"finetune": {"epochs": 2, "lr": {"low": 5e-5, "high": 6e-4, "log": True}}},
            {"one_of": ["skip", {"int8_dynamic": {"per_channel": False, "per_token": False, "exclude": "none"}}]},
        ],
    }  # fmt: skip


def ours(to: Path, seconds: float) -> None:
    """Search in this process, and judge what came to the front at any time on the test texts."""
    study = Study.create(to / "space.yaml", to.name)
    study.run(timeout=seconds - (time.time() - BEGAN), observer=Clock(to / "ended.jsonl"), workers="auto", report=False)
    check_whole(study)
    when = {row["number"]: row["seconds"] for row in map(json.loads, (to / "ended.jsonl").read_text().splitlines())}
    baseline = study.baseline
    assert baseline is not None
    points: list[Point] = []
    for trial in sorted(study.trials, key=lambda t: t.ended):
        if trial.feasible:
            figures = {name: trial.measurement[name] / baseline.measurement[name] for name in LIMITS}
            point = {"seconds": when[trial.number], **figures}
            if volume([*points, point], "score") > volume(points, "score"):
                points.append(point | {"test": tested(study, trial)})
    counts = {
        "trained": sum(t.charged for t in study.trials),
        "measured": sum(t.state == "complete" for t in study.trials),
    }  # fmt: skip
    (to / "points.json").write_text(json.dumps(counts | {"points": points}))


def tested(study: Study, trial: Trial) -> float:
    """Its score on the test texts over the baseline's. What has left the front is made again from its training."""
    if study.artefacts.get(f"{trial_key(trial.number)}/artefact") is None:
        study.remake(trial)
    scores = study.judged(trial)
    return scores["test_score"] / scores["baseline_test_score"]


def theirs(to: Path) -> dict[str, Any]:
    """What the script wrote down, in the same shape."""
    rows = [json.loads(line) for line in (to / "trials.jsonl").read_text().splitlines()]
    tested = json.loads((to / "tested.json").read_text())
    base = rows[0]
    points = [
        {"seconds": row["seconds"], "test": tested[str(row["number"])] / tested["-1"],
         **{name: row[name] / base[name] for name in LIMITS}}
        for row in rows[1:]
    ]  # fmt: skip
    return {"trained": len(points), "measured": len(points), "points": points}


def seed_run(seed: int, data: Path, teacher: Path, seconds: float) -> dict[str, Any]:
    """Both sides in turn, each in a process of its own; the one that begins changes with the seed."""
    hand, own = WORK / f"by-hand-{seed}", WORK / f"ours-{seed}"
    sides = [
        lambda: _run("benchmarks.by_hand", "--teacher", teacher, "--data", data, "--to", hand, "--seconds", seconds,
                     "--seed", seed),
        lambda: _begin(own, teacher, data, seed) and _run(
            "benchmarks.versus_by_hand", "--ours", own, "--seconds", seconds
        ),
    ]  # fmt: skip
    files = [hand / "tested.json", own / "points.json"]
    for side, file in list(zip(sides, files, strict=True))[:: 1 if seed % 2 == 0 else -1]:
        if not file.exists():
            side()
    found = {"by_hand": theirs(hand), "ours": json.loads(files[1].read_text())}
    for side in found.values():
        side["points"] = [p for p in side["points"] if p["seconds"] <= seconds]
    return found


def _begin(own: Path, teacher: Path, data: Path, seed: int) -> bool:
    for stale in (own, Path("studies") / own.name):
        shutil.rmtree(stale, ignore_errors=True)
    own.mkdir(parents=True)
    (own / "space.yaml").write_text(yaml.safe_dump(space(teacher, data, seed), sort_keys=False))
    return True


def _run(module: str, *arguments: object) -> None:
    cache = {"AUTOCOMPRESS_CACHE": str((WORK / "cache").resolve())}  # of this run: nothing is known from before
    shutil.rmtree(WORK / "cache", ignore_errors=True)
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True, env=os.environ | cache)


def table(found: dict[str, Any], seconds: float) -> tuple[list[dict[str, Any]], bool]:
    rows = []
    for seed, sides in found.items():
        mine, script = sides["ours"]["points"], sides["by_hand"]["points"]
        row: dict[str, Any] = {"seed": int(seed)}
        for name, side in sides.items():
            row |= {f"{name}_trained": side["trained"], f"{name}_measured": side["measured"]}
        for score in ("score", "test"):
            end = {"ours": volume(mine, score), "by_hand": volume(script, score)}
            row |= {f"{name}_{score}": value for name, value in end.items()}
            row[f"ours_reaches_{score}"] = reached(mine, end["by_hand"], score) / seconds
            row[f"by_hand_reaches_{score}"] = reached(script, end["ours"], score) / seconds
        rows.append(row)
    higher = all(
        statistics.mean(r[f"ours_{s}"] for r in rows) > statistics.mean(r[f"by_hand_{s}"] for r in rows)
        for s in ("score", "test")
    )
    return rows, higher and statistics.median(r["ours_reaches_score"] for r in rows) <= BAR


def markdown(rows: list[dict[str, Any]], about: str) -> str:
    head = (
        "| seed | | trainings begun | measured | hypervolume, validation | test | comes to the other's last after |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    lines = [
        f"| {r['seed']} | {'autocompress' if side == 'ours' else 'by hand'} | {r[f'{side}_trained']} "
        f"| {r[f'{side}_measured']} | {r[f'{side}_score']:.3f} | {r[f'{side}_test']:.3f} "
        f"| {_share(r[f'{side}_reaches_score'])} |"
        for r in rows
        for side in ("by_hand", "ours")
    ]
    return f"# Beside a script of an afternoon\n\n{about}\n\n{head}" + "\n".join(lines) + "\n"


def _share(value: float) -> str:
    return f"{value:.0%} of the time" if math.isfinite(value) else "never"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=1200)
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        ours(arguments.ours, arguments.seconds)
        return 0
    data, teacher = prepared(arguments, WORK)
    found: dict[str, Any] = {}
    for seed in range(arguments.seeds):
        found[str(seed)] = seed_run(seed, data, teacher, arguments.seconds)
        rows, met = table(found, arguments.seconds)
        machine = fingerprint.machine("cpu").get("cpu", "")
        about = f"{arguments.limit} training texts, {arguments.seconds:g} s each. {machine}, {datetime.date.today()}."
        kept = {"about": about, "rows": rows, "met": met, "found": found}
        (RESULTS / "versus_by_hand.json").write_text(json.dumps(kept, indent=1) + "\n")
        (RESULTS / "versus_by_hand.md").write_text(markdown(rows, about))
    print((RESULTS / "versus_by_hand.md").read_text())
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
