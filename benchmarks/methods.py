"""What each method is worth alone, on real text: it and a short finetune, against the same finetune without it.

    python -m benchmarks.methods --train TRAIN --test TEST --long-train TRAIN --long-test TEST
                                 [--seeds 3] [--limit 1000] [--only heads ...]

MiniLM, ONNX Runtime, one thread, one text; the files are parquet with the columns text and label. Every method at its
default, in a recipe of its own; a method that needs others (a gate, a student) has soft_labels with it. Those that look
at fewer pairs of tokens are measured at 512 tokens as well, on the long files, whose articles of one label are joined.
One study a seed, in `studies/` of the working directory: killed, it goes on where it stopped, and seeds that
`results/methods.json` has are not run again. Prints score against the finetune alone (mean and spread over seeds), and
speedup and size against it, and writes `results/methods.{json,md}`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import autocompress
from autocompress.machine import fingerprint
from autocompress.space.method import Method, methods

RESULTS = Path(__file__).resolve().parent / "results"
FINETUNE: dict[str, Any] = {"finetune": {"epochs": 1, "lr": 1e-4}}
SHORT, LONG = 64, 512  # tokens
LONG_TEXTS, LONG_WORDS = 320, 420  # a step of 512 tokens takes twenty of 64; words of news are 1.3 tokens each
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


def joined(source: Path, to: Path, texts: int) -> Path:
    """At most `texts` texts of `LONG_WORDS` words and more, each some articles of one label, written to `to`."""
    table, waiting, long = pq.read_table(source).to_pydict(), defaultdict[Any, list[str]](list), []
    for text, label in zip(table["text"], table["label"], strict=True):
        waiting[label].append(text)
        if sum(len(part.split()) for part in waiting[label]) >= LONG_WORDS:
            long.append((" ".join(waiting.pop(label)), label))
    random.Random(0).shuffle(long)
    pq.write_table(pa.table(dict(zip(("text", "label"), zip(*long[:texts], strict=True), strict=True))), to)
    return to


def space_for(arguments: argparse.Namespace, seed: int, tokens: int, names: list[str]) -> dict[str, Any]:
    recipes = [recipe_of(methods()[name]) for name in names]
    options = [recipe[:-1] if recipe[-1] == FINETUNE else [] for recipe in recipes]
    after = [recipe[-1] for recipe in recipes if recipe[-1] != FINETUNE]
    files = {"train": arguments.train, "test": arguments.test}
    limit = {"train": arguments.limit, "validation": 600}
    if tokens == LONG:
        files = {"train": Path("long-train.parquet"), "test": Path("long-test.parquet")}
        limit = {"train": LONG_TEXTS, "validation": 160}
    return {
        "model": "builtin/minilm", "teacher": {"finetune": {"epochs": 2, "lr": 2e-4}},
        "task": {
            "data": {name: str(file.resolve()) for name, file in files.items()}, "max_length": tokens, "limit": limit,
        },
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
    study = autocompress.search(f"{name}.yaml", name=name, report=False)
    found = {}
    for method in names:
        wanted = [next(iter(step)) if isinstance(step, dict) else step for step in recipe_of(methods()[method])]
        for trial in study.trials:
            if trial.recipe and [m.name for m in trial.recipe] == wanted and "score" in trial.measurement:
                found[method] = dict(trial.measurement)
    return found


def table(measured: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for tokens, by_seed in measured.items():
        seeds = list(by_seed.values())
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
    parser.add_argument("--long-train", type=Path, required=True)
    parser.add_argument("--long-test", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    names = [name for name in methods() if name not in NEED_MORE and (not arguments.only or name in arguments.only)]
    names = ["finetune", *[name for name in names if name != "finetune"]]
    long = ["finetune", *[name for name in names if methods()[name].family == "attention"]]
    joined(arguments.long_train, Path("long-train.parquet"), LONG_TEXTS + 160)
    joined(arguments.long_test, Path("long-test.parquet"), 160)
    about = f"{arguments.limit} training texts, {fingerprint.machine('cpu').get('cpu', '')}, {datetime.date.today()}"
    file = RESULTS / "methods.json"
    measured: dict[str, dict[str, Any]] = json.loads(file.read_text())["measured"] if file.exists() else {}
    for seed in range(arguments.seeds):
        for tokens, those in ((SHORT, names), (LONG, long)):
            done = measured.setdefault(str(tokens), {})
            if len(those) > 1 and str(seed) not in done:
                done[str(seed)] = searched(arguments, seed, tokens, those)
                rows = table(measured)
                file.write_text(json.dumps({"about": about, "rows": rows, "measured": measured}, indent=1) + "\n")
                (RESULTS / "methods.md").write_text(markdown(rows, f"{about}. Against the same finetune alone."))
    print((RESULTS / "methods.md").read_text())


if __name__ == "__main__":
    main()
