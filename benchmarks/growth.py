"""How the time of a trial grows: with layers, with rows, with the trials before it. About 15 minutes on a quiet core.

    python -m benchmarks.growth [--layers] [--rows] [--trials] [--short]

All three, if none is named; --short: their first sizes, to see that it runs, and nothing is written.

Layers (2 to 12) and rows (1,000 to 100,000): a BERT 64 wide on made-up texts, one thread; `setup` reads and tokenises,
a trial is rehearsed, trained with soft labels for one epoch and evaluated on a tenth as many rows; the least of three
trials that share nothing but the study. Trials (10 to 1,000): the coordinator's own seconds of a whole search of so
many on the analytic problem, workers simulated, for `tpe` and for `random`.

Exponents are slopes of log seconds over the largest two thirds of the points, so that what is always the same does not
hide the growth. Bars: none above 1.1 (linear, and what timing errs by); the coordinator's above 1.3 (n log n is 1.15 to
1.2 there). Writes results/growth.{json,md}; exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autocompress.machine import cache, fingerprint
from autocompress.space.recipe import Recipe
from autocompress.study import Study
from benchmarks import analytic
from benchmarks.engine import SEARCH, Cluster
from benchmarks.rehearsals import do

RESULTS = Path(__file__).resolve().parent / "results"
WORDS = ["tree", "river", "stone", "cloud", "house", "light", "green", "small", "walks", "sings", "sour", "sweet"]
LAYERS, ROWS, TRIALS, REPEATS = (2, 3, 4, 6, 8, 12), (1000, 3000, 10_000, 30_000, 100_000), (10, 30, 100, 300, 1000), 3
LINEAR, N_LOG_N = 1.1, 1.3
KINDS: tuple[Any, ...] = ("rehearse", "train", "evaluate")
Point = dict[str, float]  # what took how many seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name in (*PARTS, "short"):
        parser.add_argument(f"--{name}", action="store_true")
    asked = vars(parser.parse_args())
    torch.set_num_threads(1)
    record = RESULTS / "growth.json"
    found = json.loads(record.read_text()) if record.exists() and not asked["short"] else {}
    for name in [name for name in PARTS if asked[name]] or list(PARTS):
        sizes, measured, _ = PARTS[name]
        points = {size: in_a_folder(measured, size) for size in (sizes[:3] if asked["short"] else sizes)}
        found[name] = {"points": points, "exponents": exponents(points)}
    found["machine"] = fingerprint.machine()
    found = json.loads(json.dumps(found))
    if not asked["short"]:
        record.write_text(json.dumps(found, indent=1) + "\n")
        record.with_suffix(".md").write_text(table(found))
    print(table(found))
    return 0 if all(met for _, met in bars(found)) else 1


def in_a_folder(measured: Callable[[int], Point], size: int) -> Point:
    """In an empty one, with an empty cache."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["AUTOCOMPRESS_CACHE"] = f"{folder}/cache"
        os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///mlflow.db"
        try:
            point = measured(size)
        finally:
            os.chdir(here)
    print(size, {name: round(seconds, 2) for name, seconds in point.items()}, file=sys.stderr, flush=True)
    return point


def with_layers(layers: int) -> Point:
    return trial(layers, rows=1600)


def with_rows(rows: int) -> Point:
    return trial(2, rows)


def trial(layers: int, rows: int) -> Point:
    """Seconds of setting a study up, and of the parts of a trial in it."""
    project(layers, rows)
    began = time.perf_counter()
    study = Study.create(Path("growth.yaml"))
    baseline = do(study, "baseline")
    setup = time.perf_counter() - began - baseline.seconds["train"]
    record = {"baseline": {"measurement": baseline.measurement, "seconds": {}}}
    cache.write_json(study.folder / "study.json", study.record | record)
    best: Point = {}
    for number in range(REPEATS):
        steps: Any = [
            {"neurons": {"keep": 0.9 - 0.1 * number, "multiple": 8}}, {"soft_labels": {}},
            {"finetune": {"epochs": 1, "lr": 1e-3 * (1 + number)}},
        ]  # fmt: skip
        for kind in KINDS:
            began = time.perf_counter()
            do(study, kind, number, Recipe.load(steps).dump())
            best[kind] = min(best.get(kind, math.inf), time.perf_counter() - began)
    return best | {"trial": sum(best.values()), "setup": setup}


def project(layers: int, rows: int) -> None:
    """A checkpoint, texts and a space in the current folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **special).save_pretrained("model")
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=64, num_hidden_layers=layers, num_attention_heads=4,
        intermediate_size=256, max_position_embeddings=32,
    )  # fmt: skip
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained("model")
    rng = random.Random(0)
    for split, count in {"train": rows, "validation": rows // 10, "test": 100}.items():
        with Path(f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(made_up(rng) for _ in range(count))
    space = {
        "model": "./model", "teacher": {"finetune": {"epochs": max(1, 4000 // rows), "lr": 3e-3}},
        "task": {"data": {split: f"{split}.csv" for split in ("train", "validation", "test")}, "max_length": 16},
        "target": {"threads": 1, "sequence_length": 16}, "steps": ["finetune"],
    }  # fmt: skip
    Path("growth.yaml").write_text(json.dumps(space))


def made_up(rng: random.Random) -> tuple[str, str]:
    label = rng.choice(["sour", "sweet"])
    words = [*rng.choices(WORDS[:10], k=rng.randint(3, 10)), label]
    rng.shuffle(words)
    return " ".join(words), label


def with_trials(trials: int) -> Point:
    """The coordinator's seconds of a whole search."""
    return {sampler: searched(sampler, trials) for sampler in ("tpe", "random")}


def searched(sampler: str, trials: int) -> float:
    search = {**SEARCH, "sampler": sampler, "trials": trials, "rungs": "none"}
    Path(f"{sampler}.yaml").write_text(json.dumps(analytic.SPACE | {"search": search}))
    cluster = Cluster(1, refused=0.0)
    Study.create(Path(f"{sampler}.yaml")).run(executor=cluster, report=False)
    return cluster.coordinator


def exponents(points: dict[int, Point]) -> dict[str, float]:
    """The slope of log seconds over log size, at the larger sizes."""
    sizes = sorted(points)[-max(2, math.ceil(len(points) * 2 / 3)) :]
    names = [name for name in points[sizes[0]] if name != "rehearse"]
    logs = np.log(sizes)
    return {name: float(np.polyfit(logs, np.log([points[size][name] for size in sizes]), 1)[0]) for name in names}


PARTS: dict[str, tuple[tuple[int, ...], Callable[[int], Point], float]] = {
    "layers": (LAYERS, with_layers, LINEAR),
    "rows": (ROWS, with_rows, LINEAR),
    "trials": (TRIALS, with_trials, N_LOG_N),
}


def bars(found: dict[str, Any]) -> list[tuple[str, bool]]:
    return [
        (f"{name}: seconds of {what} grow as their number to the power of {slope:.2f}: {most:g}", slope <= most)
        for name, (_, _, most) in PARTS.items()
        if name in found
        for what, slope in found[name]["exponents"].items()
    ]


def table(found: dict[str, Any]) -> str:
    """As markdown."""
    lines = ["# How time grows", "", f"Seconds, on one thread of {found['machine']['cpu']}.", ""]
    for name in [name for name in PARTS if name in found]:
        points = found[name]["points"]
        names = list(next(iter(points.values())))
        slopes = [found[name]["exponents"].get(what) for what in names]
        lines += [f"| {name} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        lines += [f"| {n} | {' | '.join(f'{points[n][what]:.2f}' for what in names)} |" for n in points]
        lines += [f"| exponent | {' | '.join('' if s is None else f'{s:.2f}' for s in slopes)} |", ""]
    return "\n".join([*lines, *(f"- {'met' if met else 'MISSED'}: {bar}." for bar, met in bars(found)), ""])


if __name__ == "__main__":
    sys.exit(main())
