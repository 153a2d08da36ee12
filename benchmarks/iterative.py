"""Pruning to 30 % at once, or in two turns with a finetune after each: which keeps more of the score.

    python -m benchmarks.iterative --train TRAIN --test TEST [--seeds 3] [--limit 1000] [--epochs 1]

MiniLM; the files are parquet with the columns text and label. Both are trained for as many epochs altogether:
`one_shot` prunes, and finetunes for two turns; `iterative` prunes to √0.3 = 55 %, finetunes, prunes to 30 %, finetunes.
Feed-forward neurons that are really cut (`neurons`), and single weights (`magnitude`). A study a seed, in `studies/` of
the working directory; killed, it goes on where it stopped, and seeds that `results/iterative.json` has are not run
again. Prints the scores and their difference (mean and spread over seeds), and writes `results/iterative.{json,md}`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
from pathlib import Path
from typing import Any

import yaml

import autocompress
from autocompress.machine import fingerprint

RESULTS = Path(__file__).resolve().parent / "results"
LEFT, HALFWAY = 0.3, 0.55


def pruned(method: str, left: float) -> dict[str, Any]:
    return {method: {"keep": left} if method == "neurons" else {"sparsity": round(1 - left, 2)}}


def recipes(epochs: int) -> dict[str, list[Any]]:
    """By name."""
    turn, whole = ({"finetune": {"epochs": count, "lr": 1e-4}} for count in (epochs, 2 * epochs))
    found: dict[str, list[Any]] = {"dense": [whole]}
    for method in ("neurons", "magnitude"):
        found[f"{method}, one_shot"] = [pruned(method, LEFT), whole]
        found[f"{method}, iterative"] = [pruned(method, HALFWAY), turn, pruned(method, LEFT), turn]
    return found


def space_for(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    each = list(recipes(arguments.epochs).values())
    return {
        "model": "builtin/minilm", "teacher": {"finetune": {"epochs": 2, "lr": 2e-4}},
        "task": {
            "data": {"train": str(arguments.train.resolve()), "test": str(arguments.test.resolve())},
            "max_length": 64, "limit": {"train": arguments.limit, "validation": 600},
        },
        "target": {"runtime": "onnxruntime", "threads": 1, "sequence_length": 64},
        "search": {
            "trials": len(each), "seed": seed, "variants": 0, "rungs": "none", "built_in_anchors": False,
            "confirm": {"top": 0},
        },
        "anchors": each, "steps": [{"one_of": each}],
    }  # fmt: skip


def searched(arguments: argparse.Namespace, seed: int) -> dict[str, float]:
    """The score of each recipe, by its name."""
    name = f"iterative-{seed}"
    Path(f"{name}.yaml").write_text(yaml.safe_dump(space_for(arguments, seed), sort_keys=False))
    study = autocompress.search(f"{name}.yaml", name=name, report=False)
    by_steps = {
        tuple(method.name for method in trial.recipe): trial.measurement["score"]
        for trial in study.trials if trial.recipe and "score" in trial.measurement
    }  # fmt: skip
    steps = {name: tuple(next(iter(step)) for step in recipe) for name, recipe in recipes(arguments.epochs).items()}
    return {name: by_steps[those] for name, those in steps.items() if those in by_steps}


def markdown(scores: dict[str, dict[str, float]], about: str) -> str:
    lines = ["| pruned | dense | one shot | iterative | iterative - one shot | seeds |", "|---|---|---|---|---|---|"]
    for method in ("neurons", "magnitude"):
        names = ("dense", f"{method}, one_shot", f"{method}, iterative")
        each = [[seed[name] for name in names] for seed in scores.values() if all(name in seed for name in names)]
        if not each:
            continue
        dense, one_shot, iterative = (statistics.mean(column) for column in zip(*each, strict=True))
        gains = [seed[2] - seed[1] for seed in each]
        spread = f" ± {statistics.stdev(gains):.3f}" if len(gains) > 1 else ""
        gain = f"{statistics.mean(gains):+.3f}{spread}"
        lines.append(f"| `{method}` to 30 % | {dense:.3f} | {one_shot:.3f} | {iterative:.3f} | {gain} | {len(each)} |")
    return f"# Pruning at once and in turns\n\n{about}\n\n" + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=1, help="of each of the two turns")
    arguments = parser.parse_args()
    file = RESULTS / "iterative.json"
    scores: dict[str, dict[str, float]] = json.loads(file.read_text())["scores"] if file.exists() else {}
    what = f"{arguments.limit} training texts, 2 x {arguments.epochs} epochs"
    about = f"{what}, {fingerprint.machine('cpu').get('cpu', '')}, {datetime.date.today()}."
    for seed in range(arguments.seeds):
        if str(seed) not in scores:
            scores[str(seed)] = searched(arguments, seed)
            file.write_text(json.dumps({"about": about, "scores": scores}, indent=1) + "\n")
            (RESULTS / "iterative.md").write_text(markdown(scores, about))
    print((RESULTS / "iterative.md").read_text())


if __name__ == "__main__":
    main()
