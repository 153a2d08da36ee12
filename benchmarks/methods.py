"""What each method is worth alone, on real text: it and a short finetune, against the same finetune without it.

    python -m benchmarks.methods --train TRAIN.parquet --test TEST.parquet [--seeds 3] [--limit 2000] [--only heads ...]

MiniLM, ONNX Runtime, one thread, one text; the files have the columns text and label. Every method at its default, in a
recipe of its own; a method that needs others (a gate, a student) has soft_labels with it, and those that look at fewer
pairs of tokens are measured at 512 tokens as well. One study a seed, in `studies/` of the working directory: killed, it
goes on where it stopped. Prints score against the finetune alone (mean and spread over seeds), and speedup and size
against it, and writes `results/methods.{json,md}`.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import yaml

import autocompress
from autocompress.machine import fingerprint
from autocompress.space.method import Method, methods

RESULTS = Path(__file__).resolve().parent / "results"
FINETUNE: dict[str, Any] = {"finetune": {"epochs": 1, "lr": 1e-4}}
LONG = 512  # tokens
NEED_MORE = {"ensemble", "tied_embeddings"}  # teachers, and a model that writes tokens


def recipe_of(method: type[Method]) -> list[Any]:
    """The method where it belongs, with the finetune that all have."""
    own = {method.name: method().model_dump(mode="json")}
    if method.name == "finetune":
        return [FINETUNE]
    if method.stage == "lower" and not method.pending:
        return [FINETUNE, own]
    taught = ["soft_labels"] if method.stage == "student" or method.name in ("assistant", "transfer_set") else []
    return [own, *taught, FINETUNE]


def space_for(arguments: argparse.Namespace, seed: int, tokens: int, names: list[str]) -> dict[str, Any]:
    recipes = [recipe_of(methods()[name]) for name in names]
    options = [recipe[:-1] if recipe[-1] == FINETUNE else [] for recipe in recipes]
    after = [recipe[-1] for recipe in recipes if recipe[-1] != FINETUNE]
    files = {"train": str(arguments.train.resolve()), "test": str(arguments.test.resolve())}
    return {
        "model": "builtin/minilm", "teacher": {"finetune": {"epochs": 2, "lr": 2e-4}},
        "task": {"data": files, "max_length": tokens, "limit": {"train": arguments.limit, "validation": 600}},
        "target": {"runtime": "onnxruntime", "threads": 1, "sequence_length": tokens},
        "search": {
            "trials": len(recipes), "seed": seed, "variants": 0, "rungs": "none", "built_in_anchors": False,
            "confirm": {"top": 0},
        },
        "anchors": recipes,
        "steps": [
            {"one_of": ["skip", *[option for option in options if option]]}, FINETUNE, {"one_of": ["skip", *after]},
        ],
    }  # fmt: skip


def searched(arguments: argparse.Namespace, seed: int, tokens: int, names: list[str]) -> dict[str, dict[str, float]]:
    """What was measured of each recipe's method, by its name."""
    name = f"methods-{tokens}-{seed}"
    Path(f"{name}.yaml").write_text(yaml.safe_dump(space_for(arguments, seed, tokens, names), sort_keys=False))
    study = autocompress.search(f"{name}.yaml", name=name)
    found = {}
    for method in names:
        wanted = [next(iter(step)) if isinstance(step, dict) else step for step in recipe_of(methods()[method])]
        for trial in study.trials:
            if trial.recipe and [m.name for m in trial.recipe] == wanted and "score" in trial.measurement:
                found[method] = dict(trial.measurement)
    return found


def table(measured: dict[str, list[dict[str, dict[str, float]]]]) -> list[dict[str, Any]]:
    rows = []
    for tokens, seeds in measured.items():
        for name in dict.fromkeys(name for seed in seeds for name in seed):
            pairs = [(seed[name], seed["finetune"]) for seed in seeds if name in seed and "finetune" in seed]
            if not pairs:
                continue
            gains = [one["score"] - alone["score"] for one, alone in pairs]
            rows.append({
                "tokens": int(tokens), "method": name, "seeds": len(pairs),
                "score": statistics.mean(gains), "spread": statistics.stdev(gains) if len(gains) > 1 else None,
                "speedup": statistics.mean(one["speedup"] / alone["speedup"] for one, alone in pairs),
                "size": statistics.mean(one["size_mb"] / alone["size_mb"] for one, alone in pairs),
                "archive": statistics.mean(one["archive_mb"] / alone["archive_mb"] for one, alone in pairs),
                "pays_in": list(methods()[name].pays),
            })  # fmt: skip
    return rows


def markdown(rows: list[dict[str, Any]], about: str) -> str:
    head = (
        "| tokens | method | pays in | score | speedup | size | archive | seeds |\n|---|---|---|---|---|---|---|---|\n"
    )
    lines = [
        f"| {r['tokens']} | `{r['method']}` | {', '.join(r['pays_in'])} | {r['score']:+.3f}"
        + (f" ± {r['spread']:.3f}" if r["spread"] is not None else "")
        + f" | {r['speedup']:.2f}x | {r['size']:.2f} | {r['archive']:.2f} | {r['seeds']} |"
        for r in rows
    ]
    return f"{about}\n\n{head}" + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    names = [name for name in methods() if name not in NEED_MORE and (not arguments.only or name in arguments.only)]
    names = ["finetune", *[name for name in names if name != "finetune"]]
    long = ["finetune", *[name for name in names if methods()[name].family == "attention"]]
    measured: dict[str, list[dict[str, dict[str, float]]]] = {}
    for tokens, those in ((64, names), (LONG, long)):
        if len(those) > 1:
            measured[str(tokens)] = [searched(arguments, seed, tokens, those) for seed in range(arguments.seeds)]
    rows = table(measured)
    cpu = fingerprint.machine("cpu").get("cpu", "")
    about = f"{arguments.limit} training texts, {arguments.seeds} seeds, {cpu}. Against the same finetune alone."
    text = markdown(rows, about)
    (RESULTS / "methods.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    (RESULTS / "methods.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
