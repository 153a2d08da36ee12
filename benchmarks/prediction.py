"""Whether size and latency are told without lowering, what that costs, and whether it ever refuses what is feasible.

    python -m benchmarks.prediction [--recipes 200] [--seconds 300]

Told: `recipes` are drawn at random from the space of `benchmarks/rehearsals.py`. Each is told from those before it and
then measured, whatever was told; the limits are latency <= 0.4 * baseline and size <= 0.35 * baseline. Refused are
those that surely break one: none of them may keep both when it is measured. `told` is how long the telling took.
Search: the same space and limits for `seconds`, on a machine that remembers these measurements and on one that knows
nothing; the shares of the time that went to rehearsing, where a training takes a second or less. (What rehearsals take
beside real trainings, `benchmarks/five_minutes.py` measures.)

Bars: no feasible recipe refused; a refusal takes less than 0.1 s; sizes within 1 % of the file's; 95 % of latencies
within their intervals. Takes 15 minutes for 200 recipes and twice `seconds` on a quiet machine of 2 cores. Writes
`results/prediction.{json,md}` after every step, anew in every run. Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import autocompress
from autocompress.errors import NotApplicable, NothingFeasible
from autocompress.machine import cache, fingerprint
from autocompress.runtimes import workloads
from autocompress.space.goals import Goals
from autocompress.space.recipe import Recipe
from autocompress.study import Study
from autocompress.trials import work
from autocompress.trials.stages import apply
from benchmarks import rehearsals
from benchmarks.rehearsals import RESULTS, prepared, random_recipes

LIMITS = ["latency_ms <= 0.4 * baseline", "size_mb <= 0.35 * baseline"]
RECORD = RESULTS / "prediction.json"
MOST_SECONDS, SIZE_ERROR, HELD = 0.1, 0.01, 0.95


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--recipes", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300.0, help="of each search; 0: none")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {"told": [], "searches": {}}
    rehearsals.SPACE |= {"constraints": LIMITS}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["AUTOCOMPRESS_CACHE"] = str(Path(folder) / "cache")
        study = prepared()
        for recipe in random_recipes(study, asked.recipes):
            if (row := told(study, recipe)) is not None:
                found["told"].append(row)
                save(found)
        # what was told and measured is in the cache that the first search begins with
        for name in ("remembered", "nothing known") if asked.seconds else ():
            if name == "nothing known":
                for kind in ("rehearsals", "shapes", "pieces"):
                    cache.clear(kind)
            found["searches"][name] = searched(name, asked.seconds)
            save(found)
    print(table(found))
    return 0 if all(met for _, met in bars(found)) else 1


def told(study: Study, recipe: Recipe) -> dict[str, Any] | None:
    """One recipe, told and then measured; None where it cannot be carried out."""
    bench = work.bench_of(study.data)
    bench.runtime, bench.baseline_figures, bench.calibration, bench.start  # noqa: B018  loaded once a process
    start = time.perf_counter()
    foresight = bench.foresee(recipe)
    verdict = foresight.verdict(bench.space.goals, bench.baseline_figures) if foresight else "doubt"
    seconds = time.perf_counter() - start
    start, ctx = time.perf_counter(), bench.context(seed=0, rehearsal=True)
    try:
        model = apply(bench, copy.deepcopy(bench.start), ctx, recipe)
        bench.runtime.support(ctx.precision, bench.target)
        measured = workloads.in_milliseconds(bench.shape(model, ctx.precision), bench.reference_ms)
    except NotApplicable as e:
        print("left out:", e, flush=True)
        return None
    limits = Goals({}, bench.space.goals.before_training)
    feasible = all(excess <= 0 for excess in limits.violations(measured, bench.baseline_figures).values())
    figures = foresight.figures if foresight else {}
    row = {
        "recipe": recipe.title, "verdict": verdict, "feasible": feasible, "told": round(seconds, 4),
        "measured": round(time.perf_counter() - start, 2), "latency_ms": measured["latency_ms"],
        "size_mb": measured["size_mb"], "predicted": figures,
    }  # fmt: skip
    print(row, flush=True)
    return row


def searched(name: str, seconds: float) -> dict[str, Any]:
    """Shares of a search's time by what it went to."""
    space = Path(f"{name.replace(' ', '_')}.yaml")
    space.write_text(json.dumps(rehearsals.SPACE | {"search": {"confirm": {"top": 0}}}))
    Study.create(space)
    start = time.perf_counter()
    try:
        study = autocompress.search(space, timeout=seconds)
    except NothingFeasible:
        study = Study.open(space.stem)
    wall = time.perf_counter() - start
    spent: dict[str, float] = {}
    for trial in study.trials:
        for stage, took in trial.seconds.items():
            spent[stage] = spent.get(stage, 0.0) + took
    states = [trial.state for trial in study.trials]
    return {
        "seconds": round(wall, 1), "charged": study.charged(), "refused": states.count("refused"),
        "foretold": sum(bool(t.predicted) for t in study.trials),
        "shares": {stage: round(took / wall, 4) for stage, took in spent.items()},
    }  # fmt: skip


def save(found: dict[str, Any]) -> None:
    RECORD.write_text(json.dumps(found, indent=1) + "\n")
    RECORD.with_suffix(".md").write_text(table(found))


def bars(found: dict[str, Any]) -> list[tuple[str, bool]]:
    """Each bar as a sentence, and whether it is met."""
    refused = [row for row in found["told"] if row["verdict"] == "broken"]
    wrong = sum(row["feasible"] for row in refused)
    met = [(f"feasible recipes refused: {wrong} of {len(found['told'])} drawn, none", wrong == 0)]
    if refused:
        took = statistics.median(row["told"] for row in refused)
        met.append((f"seconds a refusal: {took:.3f} in the median, {MOST_SECONDS}", took < MOST_SECONDS))
    if sizes := [abs(r["predicted"]["size_mb"] / r["size_mb"] - 1) for r in found["told"] if r["predicted"]]:
        met.append((f"error of a size: {max(sizes):.2%} at most, {SIZE_ERROR:.0%}", max(sizes) <= SIZE_ERROR))
    if inside := held(found["told"]):
        share = statistics.fmean(inside)
        met.append((f"latencies within their intervals: {share:.1%}, not less than {HELD:.0%}", share >= HELD))
    return met


def held(rows: list[dict[str, Any]]) -> list[bool]:
    """Whether each latency that was told lay within its interval."""
    timed = [r for r in rows if "latency_ms" in r["predicted"]]
    return [r["predicted"]["latency_ms_low"] <= r["latency_ms"] <= r["predicted"]["latency_ms_high"] for r in timed]


def table(found: dict[str, Any]) -> str:
    """As markdown."""
    lines = [
        "# Predictions", "",
        f"MiniLM of 6 layers x 384 on ONNX Runtime, one thread, one text of 64 tokens. {fingerprint.machine()['cpu']}, "
        f"{os.cpu_count()} cores. Limits: {', '.join(LIMITS)}.", "",
    ]  # fmt: skip
    lines += [f"- {'met' if met else 'MISSED'}: {text} allowed." for text, met in bars(found)]
    lines += [
        "",
        "| recipes | refused | trained without a rehearsal | in doubt | of those feasible | held by the interval |",
    ]
    lines += ["|---" * 6 + "|"]
    for first in range(0, len(found["told"]), 50):
        rows = found["told"][first : first + 50]
        by = {name: [r for r in rows if r["verdict"] == name] for name in ("broken", "kept", "doubt")}
        share = f"{statistics.fmean(inside):.0%}" if (inside := held(rows)) else "-"
        kept = f"{len(by['kept'])} ({sum(r['feasible'] for r in by['kept'])} feasible)"
        feasible = sum(r["feasible"] for r in by["doubt"])
        lines.append(f"| {first + 1} to {first + len(rows)} | {len(by['broken'])} | {kept} | {len(by['doubt'])} "
                     f"| {feasible} | {share} |")  # fmt: skip
    if found["searches"]:
        lines += ["", "| search | seconds | trainings | refused | foretold | rehearse | train |", "|---" * 7 + "|"]
    for name, search in found["searches"].items():
        shares = " | ".join(f"{search['shares'].get(stage, 0.0):.1%}" for stage in ("rehearse", "train"))
        lines.append(f"| {name} | {search['seconds']:.0f} | {search['charged']} | {search['refused']} "
                     f"| {search['foretold']} | {shares} |")  # fmt: skip
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
