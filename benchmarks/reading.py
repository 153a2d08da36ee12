"""How long commands take that read a study of 500 trials, and `--help`: whole processes, the least of several runs.

    python -m benchmarks.reading [FOLDER]   prints one table, writes benchmarks/results/reading.json

The study is written into FOLDER, which takes half a minute, and found there the next time; left out, it is not kept.
The package is compiled, as an installed one is.
Bars: under 1 s to read 500 trials, under 0.3 s for `--help`, under 10 s and 6 MB for a report.
Nothing of it loads torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future
from pathlib import Path

from autocompress.engine import study_file
from autocompress.engine.events import Observer
from autocompress.engine.front import attribution
from autocompress.engine.optuna.store import Store
from autocompress.engine.scheduler import drive
from autocompress.engine.trial import Trial
from autocompress.space.goals import Measurement
from autocompress.space.recorded import traits
from autocompress.space.search_space import SearchSpace
from autocompress.study import Study
from autocompress.trials import answers
from autocompress.trials.executors.executor import Executor
from autocompress.trials.job import Job, Result

RESULTS = Path(__file__).resolve().parent / "results"
TRIALS, TEXTS, RUNS = 500, 1000, 5
LIMIT = "size_mb <= 0.9 * baseline"
SPACE = {
    "model": "./model", "task": {"data": {"train": "train.csv"}}, "constraints": [LIMIT],
    "steps": [{"one_of": ["skip", "layers", "heads", "neurons"]}, {"one_of": ["skip", "soft_labels"]}, "finetune",
              {"one_of": ["skip", "int8_dynamic"]}],
}  # fmt: skip
BARS = {
    "--help": 0.3, "trials big --json": 1.0, "trials big": 1.0, "studies": 1.0, "compare big 0 1": 1.0,
    "tabulate big": 1.0, "report big --to report": 10.0,
}  # fmt: skip


def main() -> int:
    with contextlib.ExitStack() as stack:
        folder = Path(sys.argv[1] if sys.argv[1:] else stack.enter_context(tempfile.TemporaryDirectory())).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        if not Path("studies/big").exists():
            fill()
        rows = {command: least([took(command) for _ in range(RUNS)]) for command in BARS}
        megabytes = (folder / "report" / "report.html").stat().st_size / 1e6
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "reading.json").write_text(json.dumps(rows, indent=1) + "\n")
    print("| command | seconds | of a CPU | bar |\n| --- | --- | --- | --- |")
    for command, row in rows.items():
        print(f"| `autocompress {command}` | {row['seconds']:.2f} | {row['cpu_seconds']:.2f} | {BARS[command]} |")
    print(f"\nThe report has {megabytes:.1f} MB.")
    return 0 if megabytes < 6 and all(row["seconds"] < BARS[command] for command, row in rows.items()) else 1


def least(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(min(run[name] for run in runs), 3) for name in runs[0]}


def took(command: str) -> dict[str, float]:
    """Of one run: by the clock, and of a CPU, which is less where others want it too."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, start = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "autocompress", *command.split()], check=True, capture_output=True, env=environment
    )
    seconds, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": seconds, "cpu_seconds": cpu}


def fill() -> None:
    """A study of 500 trials that were never trained, all of them on record as complete, with what each answered."""
    Path("big.yaml").write_text(json.dumps(SPACE))
    study, space = Study.create(Path("big.yaml")), SearchSpace.load(Path("big.yaml"))
    store = Store(study.folder / "study.db", space.objectives, space.search)
    labels = [text % 2 for text in range(TEXTS)]
    for number in range(TRIALS):
        asked = store.ask(space.sample, explore=True)
        wrong = set(random.Random(number).sample(range(TEXTS), 100 + number * 7919 % 400))
        answered = [1 - label if text in wrong else label for text, label in enumerate(labels)]
        answers.keep(study.artefacts, number, answered, labels, ["no", "yes"])
        measured = figures(1 - len(wrong) / TEXTS, 5.0 + number % 17, 20.0 + number % 13)
        seconds = {"rehearse": 2.0, "train": 60.0, "evaluate": 3.0}
        store.tell(Trial(number, "complete", asked.recipe, asked.params, measured, {LIMIT: -0.1}, seconds=seconds))
    baseline = {"measurement": figures(0.9, 20.0, 90.0), "seconds": {}, "notes": []}
    study_file.update(study.folder, baseline=baseline, methods=traits())
    drive(attribution.lives(study.data, study.best(), Observer()), Replayed())


class Replayed(Executor):
    """Knows what every step of a recipe measures, so that a report has nothing left to measure."""

    workers = 1

    def submit(self, job: Job) -> Future[Result]:
        future: Future[Result] = Future()
        future.set_result(Result(figures(0.8, 10.0, 40.0)))
        return future


def figures(score: float, latency_ms: float, size_mb: float) -> Measurement:
    """What is measured of a trial, each with its interval where it has one."""
    speedup = 20.0 / latency_ms
    return {
        "score": score, "score_low": score - 0.02, "score_high": score + 0.02,
        "latency_ms": latency_ms, "latency_ms_low": 0.99 * latency_ms, "latency_ms_high": 1.01 * latency_ms,
        "speedup": speedup, "speedup_low": 0.98 * speedup, "speedup_high": 1.02 * speedup, "size_mb": size_mb,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
