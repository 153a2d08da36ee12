"""How long commands take that read a study of 500 trials, and `--help`: whole processes, the least of several runs.

    python -m benchmarks.reading            prints one table, writes benchmarks/results/reading.json

Bars: under 1 s to read 500 trials, under 0.3 s for `--help`. Nothing of it loads torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from autocompress.engine import study_file
from autocompress.engine.optuna.store import Store
from autocompress.engine.trial import Trial
from autocompress.space.recipe import Recipe
from autocompress.space.recorded import traits
from autocompress.space.search_space import SearchSpace
from autocompress.study import Study

RESULTS = Path(__file__).parent / "results"
TRIALS, RUNS = 500, 5
SPACE = {
    "model": "./model", "task": {"data": {"train": "train.csv"}},
    "constraints": ["size_mb <= 0.9 * baseline"],
    "steps": [{"one_of": ["skip", "layers", "heads", "neurons"]}, {"one_of": ["skip", "soft_labels"]}, "finetune",
              {"one_of": ["skip", "int8_dynamic"]}],
}  # fmt: skip
BARS = {"--help": 0.3, "trials big --json": 1.0, "trials big": 1.0, "studies": 1.0, "compare big 0 1": 1.0}


def main() -> int:
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        filled()
        for command in BARS:
            rows[command] = min(took(command) for _ in range(RUNS))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "reading.json").write_text(json.dumps(rows, indent=1) + "\n")
    print("| command | seconds | bar |\n| --- | --- | --- |")
    for command, seconds in rows.items():
        print(f"| `autocompress {command}` | {seconds:.2f} | {BARS[command]} |")
    return 0 if all(seconds < BARS[command] for command, seconds in rows.items()) else 1


def took(command: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "autocompress", *command.split()], check=True, capture_output=True)
    return time.perf_counter() - start


def figures(score: float, latency_ms: float, size_mb: float) -> dict[str, float]:
    speed = {"speedup": 2.0, "speedup_low": 1.9, "speedup_high": 2.1}
    return {"score": score, "latency_ms": latency_ms, "size_mb": size_mb, **speed}


def filled() -> None:
    """A study of 500 trials that were never trained, all of them on record as complete."""
    Path("big.yaml").write_text(json.dumps(SPACE))
    study = Study.create(Path("big.yaml"))
    space = SearchSpace.load(Path("big.yaml"))
    store = Store(study.folder / "study.db", space.objectives, space.search)
    for number in range(TRIALS):
        asked: Trial = store.ask(space.sample, explore=True)
        score = 0.5 + (number * 7919 % 400) / 1000
        measured = {"score": score, "latency_ms": 5 + number % 17, "size_mb": 20 + number % 13, "speedup": 2.0,
                    "speedup_low": 1.9, "speedup_high": 2.1}  # fmt: skip
        store.tell(
            Trial(asked.number, "complete", asked.recipe, asked.params, measured, {"size_mb <= 0.9 * baseline": -0.1})
        )
    baseline = {
        "score": 0.9,
        "latency_ms": 20.0,
        "size_mb": 90.0,
        "speedup": 1.0,
        "speedup_low": 1.0,
        "speedup_high": 1.0,
    }

    measured = {"measurement": baseline, "seconds": {}, "notes": []}
    study_file.update(study.folder, baseline=measured, methods=traits())
    assert len(study.trials) == TRIALS
    assert isinstance(study.trials[0].recipe, Recipe)


if __name__ == "__main__":
    sys.exit(main())
