"""What all cores together are worth: trained trials an hour with `--workers auto`, against one worker.

    python -m benchmarks.workers [--train FILE --text COLUMN --label COLUMN] [--seconds 300] [--rounds 2]

Searches of `builtin/minilm` on 1,200 short texts (builtin/docstrings, if no file is given), each for so many seconds in
a process of its own, with its own copy of a cache that holds the teacher and nothing else; in turn, the order reversed
from round to round. About 25 minutes on 2 quiet cores. Recipes are drawn at random, so that the sides differ in nothing
but who trains how many at once.

A rate is the trained trials that ended, over the seconds until the last one did: what is under way when the time is up
counts on neither side. Bar: 1.35 times, in the mean of the rounds. Writes results/workers.{json,md}; exit code 1 if it
is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from autocompress.machine import fingerprint
from autocompress.study import Study
from benchmarks.rehearsals import do

RESULTS = Path(__file__).resolve().parent / "results"
SIDES, LEAST = ("1", "auto"), 1.35
TEACHER_EPOCHS = 3


def options(about: str | None) -> argparse.ArgumentParser:
    """Of every search of MiniLM on somebody's texts."""
    parser = argparse.ArgumentParser(description=(about or "").split("\n")[0])
    parser.add_argument(
        "--train", type=lambda file: str(Path(file).resolve()), help="a table of texts; else builtin/docstrings"
    )
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--texts", type=int, default=1200)
    parser.add_argument("--validation", type=int, default=600)
    return parser


def space(asked: argparse.Namespace, epochs: int = 1, **search: Any) -> dict[str, Any]:
    """A small space as a user has it, without finalists to confirm."""
    columns = {"text": asked.text, "label": asked.label} if asked.train else {}
    data: Any = {"train": asked.train} if asked.train else "builtin/docstrings"
    return {
        "model": "builtin/minilm", "teacher": {"finetune": {"epochs": TEACHER_EPOCHS, "lr": 2e-4}},
        "task": {
            "data": data, "max_length": 64, "limit": {"train": asked.texts, "validation": asked.validation}, **columns
        },
        "search": {"sampler": "random", "built_in_anchors": False, "confirm": {"top": 0}, **search},
        "steps": [
            {"one_of": ["skip", {"layers": {"keep": [0.5, 0.67, 0.84]}}]},
            {"one_of": ["skip", {"neurons": {"keep": [0.25, 0.5, 0.75]}}]},
            {"one_of": ["skip", "soft_labels"]},
            {"finetune": {"epochs": epochs, "lr": {"low": 5e-5, "high": 3e-4, "log": True}}},
            {"one_of": ["skip", "int8_dynamic"]},
        ],
    }  # fmt: skip


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        file, taught = Path(folder) / "workers.yaml", Path(folder) / "taught"
        file.write_text(json.dumps(space(asked, trials=1000)))
        os.chdir(folder)
        os.environ |= {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "AUTOCOMPRESS_CACHE": str(taught)}
        do(Study.create(file, "taught"), "baseline")
        for number in range(asked.rounds):
            for side in SIDES if number % 2 == 0 else reversed(SIDES):
                found[side].append(searched(file, f"{side}-{number}", taught, side, asked.seconds))
                print(f"round {number}, --workers {side}: {found[side][-1]}", file=sys.stderr, flush=True)
    if not all(run["trained"] for runs in found.values() for run in runs):
        parser.error(f"no trial ended within {asked.seconds} s: give it more --seconds, or fewer --texts")
    ratios = [many["per_hour"] / one["per_hour"] for one, many in zip(found["1"], found["auto"], strict=True)]
    record = {"machine": fingerprint.machine(), "seconds": asked.seconds, "sides": found, "ratios": ratios}
    (RESULTS / "workers.json").write_text(json.dumps(record, indent=1) + "\n")
    (RESULTS / "workers.md").write_text(table(record))
    print(table(record))
    return 0 if statistics.mean(ratios) >= LEAST else 1


def searched(file: Path, name: str, taught: Path, workers: str, seconds: int) -> dict[str, float]:
    """One search in a process of its own."""
    own = Path.cwd() / f"cache-{name}"
    shutil.copytree(taught, own)
    command = [sys.executable, "-m", "autocompress", "search", str(file), "--study", name, "--workers", workers]
    environment = os.environ | {"AUTOCOMPRESS_CACHE": str(own)}
    command += ["--timeout", f"{seconds}s", "--quiet", "--no-report"]
    subprocess.run(command, env=environment, check=False, stdout=sys.stderr)  # nothing need be feasible
    shutil.rmtree(own)
    trials = Study.open(name).trials
    trained = [t for t in trials if t.charged and t.state in ("complete", "stopped", "failed")]
    last = max((t.ended for t in trained), default=float(seconds))
    return {
        "trained": len(trained), "variants": sum(t.variant_of is not None and t.state == "complete" for t in trials),
        "until": last, "per_hour": 3600 * len(trained) / last,
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """As markdown."""
    lines = [
        "# All cores", "",
        f"{found['seconds']} s each, {found['machine']['cores']} cores of {found['machine']['cpu']}.", "",
        "| workers | trained | variants | trained an hour |", "|---|---|---|---|",
    ]  # fmt: skip
    for side, runs in found["sides"].items():
        mean = statistics.mean(run["per_hour"] for run in runs)
        counts = (", ".join(f"{run[what]:.0f}" for run in runs) for what in ("trained", "variants"))
        lines.append(f"| {side} | {' | '.join(counts)} | {mean:.0f} |")
    ratio = statistics.mean(found["ratios"])
    each = ", ".join(f"{one:.2f}" for one in found["ratios"])
    return "\n".join(
        [*lines, "", f"- {'met' if ratio >= LEAST else 'MISSED'}: {ratio:.2f} times ({each}): {LEAST}.", ""]
    )


if __name__ == "__main__":
    sys.exit(main())
