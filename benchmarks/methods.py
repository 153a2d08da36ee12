"""What each method is worth alone, on real text: it and a short finetune, against the same finetune without it.

    python -m benchmarks.methods train   --train TRAIN --test TEST --long-train TRAIN --long-test TEST
                                         [--seeds 3] [--limit 1000] [--only heads ...]
    python -m benchmarks.methods measure (the same options)
    python -m benchmarks.methods table

MiniLM, ONNX Runtime, one thread, one text; the files are parquet with the columns text and label. Every method of the
catalogue at its default, in a recipe of its own (benchmarks/methods_spaces.py); what teaches a student is measured on
half the layers, beside half the layers alone, and `ensemble` has a finetuned model for its second teacher. Those that
look at fewer pairs of tokens are measured at 512 tokens as well, on the long files, whose articles of one label are
joined; those that want a longer training, and `low_rank` beside them, with eight epochs as well.

`train` gives scores and sizes, which other processes do not disturb: start it twice for two cores. Each takes a seed at
one length that no other is at, in `studies/` of the working directory; killed, it goes on where it stopped. `measure`
gives the latencies of the models that are here, in turn with the finetune's, and wants a quiet machine. What is done is
kept in `results/methods/`, a file each, and not done again. `table` and both print score and size against the same
recipe without the method (mean and spread over seeds), and speedup against the finetune, and write
`results/methods.md`.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import autocompress
from autocompress.space.method import methods
from autocompress.space.recipe import digest
from autocompress.study import Study
from benchmarks.methods_latency import measure, trial_of
from benchmarks.methods_spaces import (
    LONG,
    LONG_TEXTS,
    LONGER,
    SHORT,
    TEACHER,
    WANT_LONGER,
    Setting,
    hours,
    recipe_of,
    space_for,
    teaches,
    without,
)
from benchmarks.methods_table import WITHOUT, read, state, write

LONG_WORDS = 420  # words of news are 1.3 tokens each
KEPT = ("score", "size_mb", "archive_mb")


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


def study_of(arguments: argparse.Namespace, seed: int, setting: Setting, names: list[str]) -> Study:
    """That of these methods, run to its end."""
    name = f"methods-{setting.name}-{seed}-{digest(names)[:6]}"
    Path(f"{name}.yaml").write_text(yaml.safe_dump(space_for(arguments, seed, setting, names), sort_keys=False))
    return autocompress.search(f"{name}.yaml", name=name, report=False)


def train(arguments: argparse.Namespace, seed: int, setting: Setting, names: list[str]) -> Iterator[dict[str, Any]]:
    """By the method's name: score and sizes of its model, and of the same recipe without it. One for each search."""
    taught = [name for name in names if teaches(name) and name != "ensemble"]
    groups = [[name for name in names if not teaches(name)], taught, [name for name in names if name == "ensemble"]]
    for group in filter(None, groups):
        if group == ["ensemble"]:
            make_teacher(study_of(arguments, seed, setting, taught or ["soft_labels"]))
        study, found = study_of(arguments, seed, setting, group), dict[str, Any]()
        for name in group:
            trial, alone = (trial_of(study, recipe(name, setting)) for recipe in (recipe_of, without))
            if trial and alone:
                figures, others = trial.measurement, alone.measurement
                found[name] = {key: figures[key] for key in KEPT} | {"alone": {key: others[key] for key in KEPT}}
        yield found


def make_teacher(study: Study) -> None:
    """Another teacher than the study's own: the model that was finetuned once more."""
    with mine("teacher") as free:
        trial = trial_of(study, recipe_of("finetune", SHORT))
        if free and trial and not Path(TEACHER).exists():
            study.export(TEACHER, trial=trial.number)


@contextmanager
def mine(name: str) -> Iterator[bool]:
    """Whether no other process of this working directory is at it."""
    with Path(f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("phase", choices=("train", "measure", "table"))
    for name in ("train", "test", "long-train", "long-test"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    if arguments.phase != "table" and not all(
        (arguments.train, arguments.test, arguments.long_train, arguments.long_test)
    ):
        parser.error("train and measure need --train, --test, --long-train and --long-test")
    return arguments


def main() -> None:
    arguments = asked()
    if arguments.phase == "table":
        write()
        return
    names = [
        name for name in methods()
        if name not in (*WITHOUT[SHORT], "finetune") and (not arguments.only or name in arguments.only)
    ]  # fmt: skip
    long = [name for name in names if methods()[name].family == "attention" and name not in WITHOUT[LONG]]
    with mine("texts") as first:
        if first:
            joined(arguments.long_train, Path("long-train.parquet"), LONG_TEXTS + 160)
            joined(arguments.long_test, Path("long-test.parquet"), 160)
    longer = [name for name in WANT_LONGER if name in names]
    each = {setting: those for setting, those in ((SHORT, names), (LONG, long), (LONGER, longer)) if those}
    if arguments.phase == "measure":
        for setting in (SHORT, LONG):  # a longer training changes no latency
            measure(setting)
        write()
        return
    units = [(seed, setting, left(seed, setting, each[setting])) for setting in each for seed in range(arguments.seeds)]
    units = [unit for unit in units if unit[2]]
    print(f"{len(units)} searches are left, about {hours(arguments, units):.1f} hours of one process", flush=True)
    for seed, setting, _ in units:
        with mine(f"methods-{setting.name}-{seed}") as free:
            those = left(seed, setting, each[setting])
            if free and those:
                for done in train(arguments, seed, setting, those):
                    what = f"score-{setting.name}-{seed}"
                    state(what).write_text(json.dumps(read(what) | done, indent=1) + "\n")
                    write()


def left(seed: int, setting: Setting, names: list[str]) -> list[str]:
    """What of a seed is not done."""
    return [name for name in names if name not in read(f"score-{setting.name}-{seed}")]


if __name__ == "__main__":
    main()
