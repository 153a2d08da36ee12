"""Does the coordinator keep up? Its own seconds per trial, how busy it keeps workers, what a second worker is worth.

    python -m benchmarks.engine [--coordinator] [--busy] [--workers-real]

Without an option it runs the first two. They drive real studies on the analytic problem, with SQLite for Optuna and for
MLflow; only the executor is a simulation, in a clock of its own to which every real second outside of it is added. The
third searches a small real space with one worker and with two. Writes `results/engine.{md,json}`, where parts that were
not asked for stay as they are. Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from autocompress.engine.budget import Budget
from autocompress.engine.coordinator import Coordinator
from autocompress.engine.events import Observer
from autocompress.engine.optuna.store import Store
from autocompress.engine.scheduler import drive
from autocompress.space.recipe import Recipe
from autocompress.space.rungs import share_name
from autocompress.study import Study
from autocompress.trials.executors.executor import Executor
from autocompress.trials.job import Job, Result
from benchmarks import analytic

RESULTS = Path(__file__).resolve().parent / "results"
SECONDS = {"rehearse": 2.0, "train": 60.0, "evaluate": 3.0}
SEARCH = {"built_in_anchors": False, "variants": 0, "confirm": {"top": 0}}
FILLED, MEASURED = 480, 20  # charged trials
REAL = {
    "model": "builtin/minilm",
    "teacher": {"finetune": {"epochs": 1, "lr": 3e-4}},
    "task": {"data": "builtin/docstrings", "max_length": 32, "limit": {"train": 300, "validation": 200}},
    "search": {"trials": 6, "sampler": "random", **SEARCH},
    "steps": [
        {"one_of": ["skip", {"layers": {"keep": [0.5, 0.67, 0.84]}}]},
        {"one_of": ["skip", {"neurons": {"keep": [0.25, 0.5, 0.75]}}]},
        {"finetune": {"epochs": 1, "lr": {"low": 1e-4, "high": 6e-4, "log": True}}},
    ],
}  # fmt: skip


class Cluster(Executor):
    """Workers in a virtual clock: a job takes as long as it says, the coordinator as long as it really does.

    Of all recipes the share `refused` is too large, which no sampler can learn: it depends on the recipe's key.
    """

    def __init__(self, workers: int, refused: float) -> None:
        self.workers = workers
        self.now = 0.0  # seconds
        self.coordinator = 0.0  # seconds spent outside of this executor
        self.jobs: list[tuple[Job, float, float, float]] = []  # (job, begin, end, the coordinator's seconds by then)
        self._refused = refused
        self._ends: dict[Future[Result], tuple[float, Result]] = {}
        self._left = time.perf_counter()

    def submit(self, job: Job) -> Future[Result]:
        self._enter()
        future: Future[Result] = Future()
        if job.kind == "baseline":
            future.set_result(Result(analytic.BASELINE | {"speedup": 1.0}, {"train": SECONDS["train"]}))
        else:
            lasts = SECONDS[job.kind] * (0.5 + _chance(job, 1))
            self.jobs.append((job, self.now, self.now + lasts, self.coordinator))
            self._ends[future] = self.now + lasts, self._answer(job, lasts)
        self._left = time.perf_counter()
        return future

    def wait(self, pending: Collection[Future[Result]]) -> set[Future[Result]]:
        self._enter()
        self.now = max(self.now, min(self._ends[future][0] for future in pending))
        ended = {future for future in pending if self._ends[future][0] <= self.now}
        for future in ended:
            future.set_result(self._ends.pop(future)[1])
        self._left = time.perf_counter()
        return ended

    def close(self) -> None:
        """Nothing runs on."""

    def _enter(self) -> None:
        spent = time.perf_counter() - self._left
        self.coordinator += spent
        self.now += spent

    def _answer(self, job: Job, lasts: float) -> Result:
        known = analytic.measured(Recipe.load(job.recipe))
        known |= {"latency_ms": known["latency_ms"] / 2, "size_mb": known["size_mb"] / 2}  # within the limits
        known["size_mb"] += analytic.SIZE_MB if _chance(job, 0) < self._refused else 0.0
        if job.kind == "train":
            return Result({"training_steps": 100.0}, {"train": lasts}, rungs={share_name(job.share): known["score"]})
        measured = {name: known[name] for name in ("latency_ms", "size_mb")} if job.kind == "rehearse" else known
        speedup = {"speedup": 2.0, "speedup_low": 1.9, "speedup_high": 2.1}
        return Result(measured | speedup | {"parameters": 1e7}, {job.kind: lasts})


def _chance(job: Job, which: int) -> float:
    """A number below 1 that depends on the recipe alone."""
    return int(Recipe.load(job.recipe).key[4 * which : 4 * which + 4], 16) / 16**4


def coordinator() -> dict[str, Any]:
    """The coordinator's seconds per charged trial when a study has 500 of them."""
    study = _study("coordinator", {"trials": FILLED, "rungs": "none"})
    study.run(trials=1, executor=Cluster(1, refused=0.75), report=False)
    _fill(study)
    known, cluster = len(study.trials), Cluster(1, refused=0.75)
    study.run(trials=FILLED + MEASURED + 1, executor=cluster, report=False)
    trained = [spent for job, _, _, spent in cluster.jobs if job.kind == "train"]
    rehearsed = sum(job.kind == "rehearse" for job, *_ in cluster.jobs)
    seconds = (trained[-1] - trained[0]) / (len(trained) - 1)
    return {
        "charged": study.charged(), "trials": len(study.trials), "trials before": known,
        "refused per charged": round(rehearsed / len(trained) - 1, 2), "seconds per charged trial": round(seconds, 3),
    }  # fmt: skip


def _fill(study: Study) -> None:
    """Up to the trials that are measured by the same coordinator, at random and without a log, which is quick."""
    space, baseline = study.space, study.baseline
    assert baseline
    settings = space.search.model_copy(update={"sampler": "random"})
    store = Store(study.folder / "study.db", space.objectives, settings)
    filling = Coordinator(study.data, space, store, baseline.measurement, Observer(), lambda *_: None)
    drive(filling.lives(Budget(FILLED)), Cluster(1, refused=0.75))


def busy(workers: int = 64, trials: int = 640) -> dict[str, Any]:
    """The share of the workers' time that they work, until no more trials are to be begun."""
    study, cluster = _study("busy", {"trials": trials, "rungs": "none"}), Cluster(workers, refused=0.75)
    study.run(executor=cluster, report=False)
    last = max(begin for job, begin, *_ in cluster.jobs if job.kind == "rehearse")
    whole = max(end for _, _, end, _ in cluster.jobs)
    shares = {
        name: round(sum(min(end, until) - min(begin, until) for _, begin, end, _ in cluster.jobs) / workers / until, 4)
        for name, until in {"busy": last, "busy to the very end": whole}.items()
    }
    rehearsed = sum(job.kind == "rehearse" for job, *_ in cluster.jobs)
    return {
        "workers": workers, "charged": study.charged(), "refused per charged": round(rehearsed / trials - 1, 2),
        "virtual seconds": round(whole), "coordinator's seconds": round(cluster.coordinator), **shares,
    }  # fmt: skip


def real() -> dict[str, Any]:
    """Trained trials per hour with one worker and with two: nothing in common but the seed."""
    rates = {}
    for workers in (1, 2):
        study = _study(f"real-{workers}", {}, REAL)
        place = {"AUTOCOMPRESS_CACHE": str(Path.cwd() / f"cache-{workers}")}
        command = [sys.executable, "-m", "autocompress", "resume", study.name, "--workers", str(workers)]
        subprocess.run(command, env=os.environ | place, check=True, stdout=sys.stderr)
        rates[workers] = 3600 * study.charged() / max(t.ended for t in study.trials)
    found = {f"trials an hour, {workers} workers": round(rate) for workers, rate in rates.items()}
    return found | {"cores": os.cpu_count(), "ratio": round(rates[2] / rates[1], 2)}


def _study(name: str, search: dict[str, Any], space: dict[str, Any] = analytic.SPACE) -> Study:
    """A new study in the current folder, for which the space's file is written too."""
    Path(f"{name}.yaml").write_text(json.dumps(space | {"search": {**SEARCH, **space.get("search", {}), **search}}))
    return Study.create(Path(f"{name}.yaml"))


PARTS: dict[str, Callable[[], dict[str, Any]]] = {"coordinator": coordinator, "busy": busy, "workers_real": real}
BARS: dict[str, tuple[str, Callable[[dict[str, Any]], bool]]] = {
    "coordinator": ("less than 1 s per charged trial at 500", lambda found: found["seconds per charged trial"] < 1),
    "busy": ("64 workers are busy for at least 95 % of their time", lambda found: found["busy"] >= 0.95),
    "workers_real": ("two workers train at least 1.3 times as many trials as one", lambda found: found["ratio"] >= 1.3),
}
ABOUT = {
    "coordinator": "One simulated worker: ask TPE, rehearse, train, evaluate, tell, log. The study's last 20 charged "
    "trials; those before were drawn at random.",
    "busy": "64 simulated workers: rehearsals of 1 to 3 s, trainings of 30 to 90 s (60 on the average), evaluations of "
    "1.5 to 4.5 s. `busy`: until the last recipe is begun, for then the budget leaves nothing to do.",
    "workers_real": "builtin/minilm on 300 texts of builtin/docstrings, one epoch, caches of their own.",
}


def table(found: dict[str, Any]) -> str:
    """As markdown."""
    lines = ["# The engine", ""]
    for part in [part for part in PARTS if part in found]:
        names, values = found[part].keys(), map(str, found[part].values())
        lines += [f"## {part}", "", ABOUT[part], "", f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
        lines += [f"| {' | '.join(values)} |", ""]
        lines += [f"- {'met' if BARS[part][1](found[part]) else 'MISSED'}: {BARS[part][0]}.", ""]
    return "\n".join(lines)


def main() -> int:
    """Run the parts, each in an empty folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for part in PARTS:
        parser.add_argument(f"--{part.replace('_', '-')}", action="store_true")
    asked = [part for part, wanted in vars(parser.parse_args()).items() if wanted]
    record = RESULTS / "engine.json"
    found = json.loads(record.read_text()) if record.exists() else {}
    for part in asked or ["coordinator", "busy"]:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///mlflow.db"
            found[part] = PARTS[part]()
    RESULTS.mkdir(exist_ok=True)
    record.write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "engine.md").write_text(table(found))
    print(table(found))
    return 0 if all(BARS[part][1](found[part]) for part in found) else 1


if __name__ == "__main__":
    sys.exit(main())
