"""How good are the recipes after so many charged trials? Our search, with parts switched off, beside plain samplers.

    python -m benchmarks.search_quality [--seeds 10] [--trials 120] [--processes 2]

Drives the real coordinator, scheduler and store; only the executor is a simulation (`analytic.py`). Prints a table of
feasible hypervolumes, as a share of the true front's, with 95 % bootstrap intervals over the seeds, and writes
`results/search_quality.{md,json}`. Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from autocompress import anchors
from autocompress.budget import Budget
from autocompress.coordinator import Coordinator
from autocompress.observer import Observer
from autocompress.scheduler import drive
from autocompress.store import Store
from benchmarks import analytic

RESULTS = Path(__file__).parent / "results"
AT = (10, 20, 30, 40, 60, 120)  # charged trials


@dataclass(frozen=True)
class Variant:
    """One way to search. `plain`: Optuna's sampler with Optuna's settings, instead of ours."""

    about: str
    screening: bool = True
    anchors: bool = True
    sampler: str = "tpe"
    plain: Callable[..., BaseSampler] | None = None


PLAIN = partial(Variant, screening=False, anchors=False)
VARIANTS = {
    "random": PLAIN("Optuna's random sampler, refused recipes charged", plain=RandomSampler),
    "nsgaii": PLAIN("Optuna's NSGA-II, likewise", plain=NSGAIISampler),
    "tpe": PLAIN("Optuna's TPE, likewise", plain=TPESampler),
    "ours": Variant("TPE, built-in anchors, refused recipes not charged"),
    "ours, no anchors": Variant("the same without anchors", anchors=False),
    "ours, no screening": Variant("the same, refused recipes charged", screening=False),
    "ours, nsgaii": Variant("`sampler: nsgaii`", sampler="nsgaii"),
}


class PlainStore(Store):
    """A study whose sampler is left as Optuna has it, but for the seed that makes runs repeatable."""

    plain: Callable[..., BaseSampler]

    def _sampler(self, number: int, explore: bool) -> BaseSampler:
        return self.plain(seed=self._settings.seed * 1_000_003 + number)


def search(name: str, seed: int, trials: int) -> dict[str, Any]:
    """One search: hypervolumes on the way, and what went wrong with the budget."""
    variant = VARIANTS[name]
    space = analytic.space(seed=seed, trials=trials, sampler=variant.sampler, built_in_anchors=variant.anchors)
    store = (PlainStore if variant.plain else Store)(None, "analytic", space.objectives, space.search)
    if isinstance(store, PlainStore) and variant.plain:
        store.plain = variant.plain
    for anchor in anchors.tried_first(space):
        store.enqueue(space.locate(anchor))
    with tempfile.TemporaryDirectory() as folder:
        coordinator = Coordinator(Path(folder), space, store, analytic.BASELINE, Observer(), lambda _: None)
        drive(coordinator.lives(Budget(trials)), analytic.Simulation(variant.screening))
    every = store.trials()
    charged = [t for t in every if t.charged]
    return {
        "variant": name, "seed": seed,
        "volume": [analytic.volume([t.measurement for t in charged[:count]]) for count in AT if count <= trials],
        "refused": sum(t.state == "refused" for t in every),
        "charged_over_a_limit": sum(not t.feasible for t in charged),
        "charged_twice": len(charged) - len({t.recipe.key for t in charged}),
    }  # fmt: skip


def summary(runs: list[dict[str, Any]], best: float) -> dict[str, Any]:
    """Means and 95 % intervals over the seeds, in shares of the true front's volume."""
    volumes = np.array([run["volume"] for run in runs]) / best
    draws = np.random.default_rng(0).integers(0, len(runs), (5000, len(runs)))
    low, high = np.percentile(volumes[draws].mean(1), [2.5, 97.5], axis=0)
    counts = {
        key: float(np.mean([run[key] for run in runs])) for key in runs[0] if key not in ("variant", "seed", "volume")
    }
    return {"mean": volumes.mean(0).tolist(), "low": low.tolist(), "high": high.tolist(), **counts}


def bars(found: dict[str, Any], at: list[int]) -> dict[str, bool]:
    """What has to hold."""
    ours, least = found["ours"], found["random"]
    return {
        f"ours at 30 charged trials is at least random at {at[-1]}": ours["mean"][at.index(30)] >= least["mean"][-1],
        "ours charges no recipe twice": ours["charged_twice"] == 0,
        "ours charges no recipe over a limit on size or latency": ours["charged_over_a_limit"] == 0,
    }


def table(found: dict[str, Any], at: list[int], seeds: int, held: dict[str, bool]) -> str:
    """As markdown."""
    lines = [
        "# Search quality on the analytic problem", "",
        f"Feasible hypervolume as a share of the true front's, mean over {seeds} seeds [95 % bootstrap interval], "
        "after so many charged trials. `search_quality.json`, beside this file, holds every run.", "",
        "| search | " + " | ".join(map(str, at)) + " | refused, uncharged | charged over a limit |",
        "|---" * (len(at) + 3) + "|",
    ]  # fmt: skip
    for name, s in found.items():
        cells = [f"{m:.3f} [{a:.3f}, {b:.3f}]" for m, a, b in zip(s["mean"], s["low"], s["high"], strict=True)]
        uncharged = s["refused"]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {uncharged:.0f} | {s['charged_over_a_limit']:.0f} |")
    lines += ["", *[f"- **{name}**: {variant.about}." for name, variant in VARIANTS.items()], ""]
    return "\n".join([*lines, *[f"- {'met' if ok else 'MISSED'}: {bar}." for bar, ok in held.items()], ""])


def main() -> int:
    """Run every variant over the seeds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for option, default in {"seeds": 10, "trials": 120, "processes": 2}.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    asked = parser.parse_args()
    at = [count for count in AT if count <= asked.trials]
    with Pool(asked.processes) as pool:
        jobs = [(name, seed, asked.trials) for seed in range(asked.seeds) for name in VARIANTS]
        runs = pool.starmap(search, jobs, chunksize=1)
    best = analytic.best_volume()
    found = {name: summary([run for run in runs if run["variant"] == name], best) for name in VARIANTS}
    held = bars(found, at)
    RESULTS.mkdir(exist_ok=True)
    record = {"at": at, "best_volume": best, "summary": found, "bars": held, "runs": runs}
    (RESULTS / "search_quality.json").write_text(json.dumps(record, indent=1) + "\n")
    (RESULTS / "search_quality.md").write_text(table(found, at, asked.seeds, held))
    print(table(found, at, asked.seeds, held))
    return 0 if all(held.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
