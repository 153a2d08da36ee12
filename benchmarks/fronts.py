"""What searches that are compared by their fronts share: teacher, texts, limits, a clock, what a front is worth."""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from autocompress.engine.events import Observer
from autocompress.engine.front.hypervolume import hypervolume
from autocompress.engine.trial import Trial
from autocompress.study import Study

BEGAN = psutil.Process().create_time()  # imports are part of a program's time
VALIDATION = 600  # texts
LIMITS = {"score": 0.9, "latency_ms": 0.67, "size_mb": 0.8}  # of the teacher's
Point = dict[str, float]  # seconds, score, latency_ms and size_mb, maybe test; all but the seconds over the teacher's


def posed(teacher: Path, data: Path, tokens: int) -> dict[str, Any]:
    """The part of a space that all searches of one benchmark have: model, texts, target, objectives, limits."""
    files = {name: str((data / f"{name}.parquet").resolve()) for name in ("train", "validation", "test")}
    return {
        "model": str(teacher.resolve()), "teacher": "as_given", "task": {"data": files, "max_length": tokens},
        "target": {"runtime": "onnxruntime", "threads": 1, "sequence_length": tokens},
        "objectives": {"score": "maximize", "latency_ms": "minimize", "size_mb": "minimize"},
        "constraints": [
            f"{name} {'>=' if name == 'score' else '<='} {limit} * baseline" for name, limit in LIMITS.items()
        ],
    }  # fmt: skip


def prepared(arguments: argparse.Namespace, work: Path) -> tuple[Path, Path]:
    """The folders of the teacher and of the three splits."""
    if not (arguments.train and arguments.test):
        raise SystemExit("--train and --test are needed: parquet files with the columns text and label")
    data, teacher = work / "data", work / "teacher"
    if not data.exists():
        data.mkdir(parents=True)
        rows = pq.read_table(arguments.train, columns=["text", "label"])
        mixed = rows.take(_shuffled(len(rows)))
        pq.write_table(mixed.slice(0, VALIDATION), data / "validation.parquet")
        pq.write_table(mixed.slice(VALIDATION, arguments.limit), data / "train.parquet")
        pq.write_table(pq.read_table(arguments.test, columns=["text", "label"]), data / "test.parquet")
    if not (teacher / "config.json").exists():
        from benchmarks.by_hand import make_teacher

        make_teacher(data, teacher)
    return data, teacher


def check_whole(study: Study) -> None:
    """Of a space that lost a method nothing is compared: it is not the one that the others search."""
    if study.left_out:
        raise SystemExit(f"the space has lost a part: {study.left_out}")


def _shuffled(count: int) -> list[int]:
    rows = list(range(count))
    random.Random(0).shuffle(rows)
    return rows


class Clock(Observer):
    """Writes down when each trial had ended, from the program's start on, its imports included."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def finished(self, trial: Trial) -> None:
        if trial.state == "complete" or trial.number < 0:
            with self._file.open("a") as file:
                file.write(json.dumps({"seconds": time.time() - BEGAN, "number": trial.number}) + "\n")


def volume(points: Iterable[Point], score: str) -> float:
    """As a share of the box. `score`: by which texts, "score" (validation) or "test"."""
    feasible = [p for p in points if p["score"] >= LIMITS["score"] and p[score] >= LIMITS["score"]]
    corner = (-LIMITS["score"], LIMITS["latency_ms"], LIMITS["size_mb"])
    box = (1 - LIMITS["score"]) * LIMITS["latency_ms"] * LIMITS["size_mb"]
    return hypervolume([(-p[score], p["latency_ms"], p["size_mb"]) for p in feasible], corner) / box


def reached(points: list[Point], value: float, score: str) -> float:
    """Seconds after which the hypervolume is at least `value`; infinite if it never is."""
    ordered = sorted(points, key=lambda p: p["seconds"])
    for n, point in enumerate(ordered, start=1):
        if volume(ordered[:n], score) >= value:
            return point["seconds"]
    return math.inf
