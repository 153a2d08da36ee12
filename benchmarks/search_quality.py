"""How good is the front after so many charged trials, and at what cost? Our search, with parts switched off in turn.

    python -m benchmarks.search_quality [--seeds 10] [--races 20] [--processes 2]

Drives the real coordinator, scheduler and store; only the executor is a simulation with a virtual clock, on two
problems: a formula (`analytic.py`) and a table of real trainings (`table.py`). Prints feasible hypervolumes, as a share
of the true front's, with 95 % bootstrap intervals over the seeds, and writes `results/search_quality.{md,json}`. Exit
code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from optuna._hypervolume import compute_hypervolume
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from autocompress.engine.budget import Budget
from autocompress.engine.coordinator import Coordinator
from autocompress.engine.events import Observer
from autocompress.engine.front.hypervolume import hypervolume
from autocompress.engine.optuna.store import Store
from autocompress.engine.scheduler import drive
from autocompress.engine.trial import Trial
from autocompress.space import anchors
from autocompress.trials.job import StudyData
from benchmarks.analytic import Analytic
from benchmarks.simulation import Problem, Simulation
from benchmarks.table import Tabulated

RESULTS = Path(__file__).parent / "results"
PROBLEMS: dict[str, Callable[[], Problem]] = {"analytic": Analytic, "tabulated": Tabulated}
LONG = {"analytic": 120, "tabulated": 24}
AT = (5, 10, 20, 24, 30, 40, 60, 120)  # charged trials
ENOUGH = 0.95  # of the final volume without rungs: what the cost is counted to


@dataclass(frozen=True)
class Variant:
    """One way to search. `plain`: Optuna's sampler with Optuna's settings, instead of ours."""

    about: str
    screening: bool = True
    anchors: bool = True
    tails: bool = True
    rungs: bool = True
    sampler: str = "tpe"
    plain: Callable[..., BaseSampler] | None = None


PLAIN = partial(Variant, screening=False, anchors=False, tails=False, rungs=False)
VARIANTS = {
    "random": PLAIN("Optuna's random sampler, refused recipes charged", plain=RandomSampler),
    "nsgaii": PLAIN("Optuna's NSGA-II, likewise", plain=NSGAIISampler),
    "tpe": PLAIN("Optuna's TPE, likewise", plain=TPESampler),
    "ours": Variant("TPE, built-in anchors, refused recipes not charged, variants, rungs"),
    "ours, no anchors": Variant("the same without anchors", anchors=False),
    "ours, no screening": Variant("the same, refused recipes charged", screening=False),
    "ours, no variants": Variant("the same, one recipe a training", tails=False),
    "ours, no rungs": Variant("the same, every training to its end", rungs=False),
}


class PlainStore(Store):
    """A study whose sampler is left as Optuna has it, but for the seed that makes runs repeatable."""

    plain: Callable[..., BaseSampler]

    def _sampler(self, number: int, explore: bool) -> BaseSampler:
        return self.plain(seed=self._settings.seed * 1_000_003 + number)


Race = tuple[dict[str, Any], dict[str, Any]]  # without rungs, with them


def race(problem: str, seed: int) -> Race:
    """A search without rungs, of as many trials as random has, and one with them that takes as many seconds."""
    without = search(problem, "ours, no rungs", seed, LONG[problem])
    return without, search(problem, "ours", seed, 100 * LONG[problem], without["seconds"][-1])


def search(problem: str, name: str, seed: int, trials: int = 0, seconds: float = math.inf) -> dict[str, Any]:
    """One search: hypervolumes on the way, and what went wrong with the budget. `trials` 0: the usual number."""
    posed, variant = PROBLEMS[problem](), VARIANTS[name]
    trials = trials or (LONG[problem] if variant.plain else posed.trials)
    space = posed.space(
        seed=seed, trials=trials, sampler=variant.sampler, built_in_anchors=variant.anchors,
        variants=32 if variant.tails else 0, rungs="stop" if variant.rungs else "none",
    )  # fmt: skip
    store = (PlainStore if variant.plain else Store)(None, space.objectives, space.search)
    if isinstance(store, PlainStore) and variant.plain:
        store.plain = variant.plain
    for anchor in anchors.tried_first(space):
        store.enqueue(space.locate(anchor))
    simulation = Simulation(posed, screening=variant.screening)
    with tempfile.TemporaryDirectory() as folder:
        coordinator = Coordinator(
            StudyData(artefacts=folder), space, store, posed.baseline, Observer(), lambda *_: None, simulation.clock
        )
        drive(coordinator.lives(Budget(trials, seconds, clock=simulation.clock)), simulation)
    every = store.trials()
    charged = [t for t in every if t.charged]
    return {
        "problem": problem, "variant": name, "seed": seed, **_course(posed, every),
        "refused": sum(t.state == "refused" for t in every), "stopped": sum(t.state == "stopped" for t in every),
        "charged_over_a_limit": sum(any(v > 0 for c, v in t.violations.items() if "score" not in c) for t in charged),
        "charged_twice": len(charged) - len({t.recipe.key for t in charged}),
    }  # fmt: skip


def _course(problem: Problem, every: list[Trial]) -> dict[str, Any]:
    """The volume after every charged trial, and the virtual seconds until then. Variants come with their training."""
    volumes, seconds, training, found = [], [], [], list[dict[str, float]]()
    trained = 0.0
    ended = sorted((t for t in every if t.state in ("complete", "stopped", "failed")), key=lambda t: t.ended)
    for i, trial in enumerate(ended):
        trained += trial.seconds.get("train", 0.0)
        found += [trial.measurement] if trial.state == "complete" else []
        if not any(t.variant_of is not None for t in ended[i + 1 : i + 2]):  # the last of what one training gave
            volumes.append(round(problem.volume(found), 5))
            seconds.append(round(trial.ended, 1))
            training.append(round(trained, 1))
    _checked([(-m["score"], m["latency_ms"], m["size_mb"]) for m in found])
    return {"volume": volumes, "seconds": seconds, "training": training}


def _checked(points: list[tuple[float, ...]]) -> None:
    """Our hypervolume is Optuna's."""
    if points:
        corner = tuple(max(column) + 1 for column in zip(*points, strict=True))
        theirs = compute_hypervolume(np.array(sorted(set(points))), np.array(corner))
        assert abs(hypervolume(points, corner) / theirs - 1) < 1e-9


def interval(values: list[float], of: Callable[..., Any] = np.mean) -> tuple[float, float, float]:
    """The mean (or another statistic) over the seeds, and its 95 % bootstrap interval."""
    array = np.array(values)
    draws = array[np.random.default_rng(0).integers(0, len(array), (5000, len(array)))]
    low, high = np.percentile(of(draws, axis=1), [2.5, 97.5])
    return float(of(array)), float(low), float(high)


def cost_to(run: dict[str, Any], volume: float, of: str = "seconds") -> float:
    """Virtual seconds until the volume is reached; all there were if it never is."""
    reached = [s for s, v in zip(run[of], run["volume"], strict=True) if v >= volume]
    return float(reached[0] if reached else run[of][-1])


def saved(races: list[Race], of: str = "seconds") -> tuple[float, float, float]:
    """How many times less it costs with rungs than without to come to 95 % of the final volume: median over seeds."""
    enough = [(without, with_, ENOUGH * without["volume"][-1]) for without, with_ in races]
    return interval([cost_to(a, v, of) / cost_to(b, v, of) for a, b, v in enough], np.median)


def table(problem: str, runs: dict[str, list[dict[str, Any]]], races: list[Race], best: float) -> list[str]:
    """One problem as markdown."""
    seeds = len(runs["ours"])
    at = [n for n in AT if n <= max(len(r["volume"]) for rs in runs.values() for r in rs)]
    lines = [
        f"## The {problem} problem", "",
        f"Feasible hypervolume as a share of the true front's after so many charged trials, mean over {seeds} seeds "
        "[95 % bootstrap interval]; seconds: virtual, of the whole search.", "",
        "| search | " + " | ".join(map(str, at)) + " | seconds | stopped | refused, uncharged | charged over a limit |",
        "|---" * (len(at) + 5) + "|",
    ]  # fmt: skip
    for name, rs in runs.items():
        cells = []
        for n in at:
            known = [r["volume"][n - 1] / best for r in rs if len(r["volume"]) >= n]
            cells.append("{:.3f} [{:.3f}, {:.3f}]".format(*interval(known)) if len(known) == seeds else "")
        counts = [np.mean([r[key] for r in rs]) for key in ("stopped", "refused", "charged_over_a_limit")]
        seconds = np.mean([r["seconds"][-1] for r in rs])
        lines.append(
            f"| {name} | {' | '.join(cells)} | {seconds:.0f} | " + " | ".join(f"{c:.0f}" for c in counts) + " |"
        )
    return [*lines, "", *_raced(races, LONG[problem]), ""]


def _raced(races: list[Race], trials: int) -> list[str]:
    """What rungs save."""
    of_all, of_training = (saved(races, of) for of in ("seconds", "training"))
    volumes = [interval([side["volume"][-1] for side in sides])[0] for sides in zip(*races, strict=True)]
    missed = sum(with_["volume"][-1] < ENOUGH * without["volume"][-1] for without, with_ in races)
    begun = np.mean([len(with_["volume"]) for _, with_ in races])
    return [
        f"Rungs, over {len(races)} seeds: a search without them, of {trials} charged trials, against one with them "
        f"that goes on for as many seconds ({begun:.0f} charged trials on average). To come to {ENOUGH:.0%} of the "
        f"volume that the first ends with costs it {_three(of_all)} times what it costs the second, and "
        f"{_three(of_training)} times in seconds of training alone (medians over the seeds; {missed} with rungs never "
        f"came there). Volumes in the end: {volumes[0]:.4f} without, {volumes[1]:.4f} with."
    ]


def _three(value: tuple[float, float, float]) -> str:
    return "{:.2f} [{:.2f}, {:.2f}]".format(*value)


def bars(runs: dict[str, dict[str, list[dict[str, Any]]]], races: dict[str, list[Race]]) -> dict[str, bool]:
    """What has to hold."""
    analytic = runs["analytic"]
    ours, least = (np.mean([r["volume"][n - 1] for r in analytic[v]]) for v, n in (("ours", 30), ("random", 120)))
    own = [r for of in runs.values() for name, rs in of.items() if name == "ours" for r in rs]
    own += [with_ for of in races.values() for _, with_ in of]
    return {
        "analytic: ours at 30 charged trials is at least random at 120": bool(ours >= least),
        "analytic: with rungs at least 1.3 times less cost to 95 % of the final hypervolume": saved(races["analytic"])[
            0
        ]
        >= 1.3,
        "ours charges no recipe twice": not any(r["charged_twice"] for r in own),
        "ours charges no recipe over a limit on size or latency": not any(r["charged_over_a_limit"] for r in own),
    }


def main() -> int:
    """Run every variant over the seeds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for option, default in {"seeds": 10, "races": 20, "processes": 2}.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    asked = parser.parse_args()
    with Pool(asked.processes) as pool:
        jobs = [(p, name, seed) for p in PROBLEMS for seed in range(asked.seeds) for name in VARIANTS]
        every = pool.starmap(search, jobs, chunksize=1)
        raced = {p: pool.starmap(race, [(p, seed) for seed in range(asked.races)], chunksize=1) for p in PROBLEMS}
    runs = {p: {v: [r for r in every if (r["problem"], r["variant"]) == (p, v)] for v in VARIANTS} for p in PROBLEMS}
    held, lines = bars(runs, raced), ["# Search quality", ""]
    for problem, make in PROBLEMS.items():
        lines += table(problem, runs[problem], raced[problem], make().best())
    lines += [f"- **{name}**: {variant.about}." for name, variant in VARIANTS.items()]
    lines += ["", *[f"- {'met' if ok else 'MISSED'}: {bar}." for bar, ok in held.items()], ""]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "search_quality.json").write_text(json.dumps({"bars": held, "runs": every, "races": raced}) + "\n")
    (RESULTS / "search_quality.md").write_text("\n".join(lines))
    print("\n".join(lines))
    return 0 if all(held.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
