"""What each way of saving time saves: a real search with all of them, and one with each switched off in turn.

    python -m benchmarks.savings --train TRAIN --test TEST [--trials 40] [--seeds 1] [--only rungs ...]

MiniLM on short texts (parquet, columns text and label), small trainings, ONNX Runtime. Every search has the same space,
seed and number of trainings, a process and a cache of its own; the teacher is fine-tuned once for all of them. Printed
are the seconds of the whole search, those until it came to 95 % of the hypervolume that the one with everything ends
with, and both over what they are with everything: 1.3 means that switching it off costs 30 % more. Prefixes that
recipes share are counted instead: what training them again would have taken is known to the second. About four minutes
a search on two cores; goes on where it stopped; works in `savings/` of the working directory. Writes
`results/savings.{json,md}`.
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
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from autocompress.engine.coordinator import Coordinator
from autocompress.engine.trial import Trial
from autocompress.engine.trial_table import TrialTable
from autocompress.machine import fingerprint
from autocompress.space.recipe import Recipe, digest
from autocompress.study import Study
from autocompress.trials.bench import Bench
from autocompress.trials.stages import Ascent, Model
from benchmarks.fronts import LIMITS, Clock, check_whole, posed, prepared, reached, volume

RESULTS = Path(__file__).resolve().parent / "results"
WORK = Path("savings")
ENOUGH = 0.95
SETTINGS: dict[str, dict[str, Any]] = {  # what a setting of the search switches off
    "rungs": {"rungs": "none"},
    "variants": {"variants": 0},
    "variants that pay": {"variant_time": 1000.0},
    "prediction": {"predict": False},
    "bfloat16": {"training_precision": "float32"},
    "built-in anchors": {"built_in_anchors": False},
}


def space(teacher: Path, data: Path, trials: int, seed: int, off: str) -> dict[str, Any]:
    """That of all its searches; `off` is missing, where a setting decides."""
    return posed(teacher, data, 24) | {
        "search": {"trials": trials, "seed": seed, "confirm": {"top": 0}, **SETTINGS.get(off, {})},
        "steps": [
            {"one_of": ["skip", {"layers": {"keep": [0.34, 0.5, 0.67], "strategy": "alternate"}}]},
            {"one_of": ["skip", {"heads": {"keep": [0.5, 0.75]}}, {"neurons": {"keep": [0.25, 0.5, 0.75]}}]},
            {"one_of": ["skip", "soft_labels"]},
            {"finetune": {"epochs": 2, "lr": [1e-4, 3e-4, 6e-4]}},
            {"one_of": ["skip", {"low_rank": {"keep": [0.5], "scope": "ffn"}}]},
            {"finetune": {"epochs": 1, "lr": [1e-4, 3e-4]}},
            {"one_of": ["skip", {"int8_dynamic": {}}, {"int8_static": {}}]},
        ],
    }  # fmt: skip


def without_refusals() -> None:
    """Whatever breaks a limit is trained all the same."""
    still = Coordinator._still
    Coordinator._still = lambda self, trial: still(self, replace(trial, reason=""))  # type: ignore[method-assign]


def without_duplicates() -> None:
    """A recipe that was tried is evaluated and measured again."""
    TrialTable.twin = lambda self, trial: None  # type: ignore[method-assign]


def without_prefixes() -> None:
    """A stage that is not the whole of a training is nobody else's."""

    def stage(self: Ascent, stage: Recipe) -> Model:
        whole.append(self._recipe)
        try:
            return known_stage(self, stage)
        finally:
            whole.pop()

    def prefix_key(self: Bench, recipe: Recipe, repeat: int = 0) -> str:
        shared = known_key(self, recipe, repeat)
        part = whole and recipe and recipe.key != whole[-1].key
        return digest([shared, whole[-1].key]) if part else shared

    whole: list[Recipe] = []
    known_stage, known_key = Ascent._stage, Bench.prefix_key
    Ascent._stage = stage  # type: ignore[method-assign]
    Bench.prefix_key = prefix_key  # type: ignore[method-assign]


PATCHES: dict[str, Callable[[], None]] = {"refusals": without_refusals, "duplicates": without_duplicates}
IN_WORKERS: dict[str, Callable[[], None]] = {"prefixes": without_prefixes}  # workers are processes of their own
OFF = "AUTOCOMPRESS_SAVINGS_OFF"  # what they are told by
ONE_WORKER = "workers"
EVERYTHING = "nothing"


def searched(to: Path, off: str) -> None:
    """One search in this process; `off` is missing in it."""
    (PATCHES | IN_WORKERS).get(off, lambda: None)()
    study = Study.create(to / "space.yaml", to.name)
    study.run(observer=Clock(to / "ended.jsonl"), workers=1 if off == ONE_WORKER else "auto", report=False)
    check_whole(study)
    when = {row["number"]: row["seconds"] for row in map(json.loads, (to / "ended.jsonl").read_text().splitlines())}
    baseline = study.baseline
    assert baseline is not None
    points = [
        {"seconds": when[t.number], **{name: t.measurement[name] / baseline.measurement[name] for name in LIMITS}}
        for t in study.trials
        if t.feasible
    ]
    found = {
        "seconds": max(when.values()), "points": points, "counts": Counter(t.state for t in study.trials),
        "prefixes": sum(unspent(t) for t in study.trials),
        "trained": sum(t.seconds.get("train", 0) for t in study.trials),
    }  # fmt: skip
    (to / "found.json").write_text(json.dumps(found))


def unspent(trial: Trial) -> float:
    """Seconds of training steps that it took over from another recipe that begins alike."""
    whole = max(trial.rung_seconds.values(), default=0.0)
    return max(0.0, whole - trial.seconds.get("train", 0.0)) if trial.charged else 0.0


def run(off: str, seed: int, trials: int, data: Path, teacher: Path) -> dict[str, Any]:
    """What one search came to. One that was stopped begins again: its seconds are those of one process."""
    to = WORK / f"{off.replace(' ', '-')}-{seed}"
    if not (to / "found.json").exists():
        for stale in (to, Path("studies") / to.name, WORK / "cache"):
            shutil.rmtree(stale, ignore_errors=True)
        to.mkdir(parents=True)
        (to / "space.yaml").write_text(yaml.safe_dump(space(teacher, data, trials, seed, off), sort_keys=False))
        command = [sys.executable, "-m", "benchmarks.savings", "--search", str(to), "--off", off]
        own = {"AUTOCOMPRESS_CACHE": str((WORK / "cache").resolve()), OFF: off}
        subprocess.run(command, check=True, env=os.environ | own)
    found: dict[str, Any] = json.loads((to / "found.json").read_text())
    return found


def table(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Each against everything, seed by seed; the mean over the seeds."""
    rows = []
    for off, runs in found.items():
        ratios, enough = [], []
        for mine, whole in zip(runs, found[EVERYTHING], strict=False):
            target = ENOUGH * volume(whole["points"], "score")
            ratios.append(mine["seconds"] / whole["seconds"])
            enough.append(reached(mine["points"], target, "score") / reached(whole["points"], target, "score"))
        rows.append({
            "off": off, "seeds": len(runs), "seconds": statistics.mean(r["seconds"] for r in runs),
            "ratio": statistics.mean(ratios), "to_enough": statistics.mean(enough),
            "volume": statistics.mean(volume(r["points"], "score") for r in runs),
            "prefixes": statistics.mean(r["prefixes"] / max(1e-9, r["trained"]) for r in runs),
            "counts": {state: sum(r["counts"].get(state, 0) for r in runs) for state in runs[0]["counts"]},
        })  # fmt: skip
    return rows


def markdown(rows: list[dict[str, Any]], about: str) -> str:
    head = (
        "| switched off | whole search | to 95 % of the hypervolume | hypervolume | what its trials came to |\n"
        "|---|---|---|---|---|\n"
    )
    lines = [
        f"| {r['off']} | {r['seconds']:.0f} s, {r['ratio']:.2f}x | "
        + (f"{r['to_enough']:.2f}x" if math.isfinite(r["to_enough"]) else "never")
        + f" | {r['volume']:.3f} | {', '.join(f'{n} {state}' for state, n in sorted(r['counts'].items()))} |"
        for r in rows
    ]
    prefixes = rows[0]["prefixes"]
    note = f"Prefixes that recipes share were trained once: else training had taken {1 + prefixes:.2f} times as long."
    return f"# What saves time\n\n{about}\n\n{head}" + "\n".join(lines) + f"\n\n{note}\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--limit", type=int, default=480)
    parser.add_argument("--only", nargs="*", default=[*SETTINGS, *PATCHES, *IN_WORKERS, ONE_WORKER])
    parser.add_argument("--search", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--off", default=EVERYTHING, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.search:
        searched(arguments.search, arguments.off)
        return
    data, teacher = prepared(arguments, WORK)
    found: dict[str, list[dict[str, Any]]] = {}
    for off in (EVERYTHING, *arguments.only):
        found[off] = [run(off, seed, arguments.trials, data, teacher) for seed in range(arguments.seeds)]
        rows = table(found)
        machine = fingerprint.machine("cpu").get("cpu", "")
        about = f"{arguments.trials} trainings of {arguments.limit} texts. {machine}, {datetime.date.today()}."
        (RESULTS / "savings.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
        (RESULTS / "savings.md").write_text(markdown(rows, about))
    print((RESULTS / "savings.md").read_text())


if __name__ == "__mp_main__":  # a worker of a search
    IN_WORKERS.get(os.environ.get(OFF, ""), lambda: None)()

if __name__ == "__main__":
    main()
