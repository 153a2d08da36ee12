"""What each method is worth alone, on real text: it and a short finetune, against the same finetune without it.

    python -m benchmarks.methods train   --train TRAIN --test TEST --long-train TRAIN --long-test TEST
                                         [--seeds 3] [--limit 1000] [--only heads ...]
    python -m benchmarks.methods measure (the same options)
    python -m benchmarks.methods table

MiniLM, ONNX Runtime, one thread, one text; the files are parquet with the columns text and label. Every method of the
catalogue at its default, in a recipe of its own; a method that needs others (a gate, a student) has soft_labels with
it, and `ensemble` a finetuned model for its second teacher. Those that look at fewer pairs of tokens are measured at
512 tokens as well, on the long files, whose articles of one label are joined.

`train` gives scores and sizes, which other processes do not disturb: start it twice for two cores. Each takes a seed at
one length that no other is at, in `studies/` of the working directory; killed, it goes on where it stopped. `measure`
gives the latencies of the first seed's models, in turn with the finetune's, and wants a quiet machine. What is done is
kept in `results/methods/`, a file each, and not done again. `table` and both print score against the finetune alone
(mean and spread over seeds), and speedup and size against it, and write `results/methods.md`.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import json
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import autocompress
from autocompress.machine import fingerprint
from autocompress.space.method import Method, methods
from autocompress.study import Study
from benchmarks.methods_table import LONG, SHORT, WITHOUT, state, write

FINETUNE: dict[str, Any] = {"finetune": {"epochs": 1, "lr": 1e-4}}
LONG_TEXTS, LONG_WORDS = 320, 420  # a step of 512 tokens takes twenty of 64; words of news are 1.3 tokens each
TAUGHT = {"assistant", "transfer_set", "ensemble"}  # what they change is learnt by a teacher's answers
TEACHER = "./teacher"
RUN_SECONDS = 15.0  # of a recipe besides its steps: rehearsal, its latency, lowering, scores


def recipe_of(method: type[Method]) -> list[Any]:
    """The method where it belongs, with the finetune that all have."""
    knobs = {"teachers": [TEACHER]} if method.name == "ensemble" else {}
    own = {method.name: method(**knobs).model_dump(mode="json")}
    if method.name == "finetune":
        return [FINETUNE]
    if method.stage == "lower" and not method.pending:
        return [FINETUNE, own]
    taught = ["soft_labels"] if method.stage == "student" or method.name in TAUGHT else []
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
            "trials": sum(recipe[-1] == FINETUNE for recipe in recipes),  # what is lowered is not trained for itself
            "seed": seed, "variants": 0, "rungs": "none", "built_in_anchors": False, "confirm": {"top": 0},
        },
        "anchors": recipes,
        "steps": [
            {"one_of": ["skip", *[option for option in options if option]]}, FINETUNE, {"one_of": ["skip", *after]},
        ],
    }  # fmt: skip


def study_of(arguments: argparse.Namespace, seed: int, tokens: int, names: list[str]) -> Study:
    """That of these methods, run to its end."""
    name = f"methods-{tokens}-{seed}" + ("-ensemble" if names == ["ensemble"] else "")
    Path(f"{name}.yaml").write_text(yaml.safe_dump(space_for(arguments, seed, tokens, names), sort_keys=False))
    return autocompress.search(f"{name}.yaml", name=name, report=False)


def trials_of(study: Study, names: list[str]) -> dict[str, Any]:
    """The trial of each method that has been scored."""
    found = {}
    for method in names:
        wanted = [next(iter(step)) if isinstance(step, dict) else step for step in recipe_of(methods()[method])]
        for trial in study.trials:
            if trial.recipe and [m.name for m in trial.recipe] == wanted and "score" in trial.measurement:
                found[method] = trial
    return found


def train(arguments: argparse.Namespace, seed: int, tokens: int, names: list[str]) -> dict[str, Any]:
    """Score and sizes of each method's model, by its name."""
    one = [name for name in names if name != "ensemble"]
    studies = [(study_of(arguments, seed, tokens, one), one)]
    if "ensemble" in names:
        with mine("teacher") as free:
            if free and not Path(TEACHER).exists():
                studies[0][0].export(TEACHER, trial=trials_of(studies[0][0], ["finetune"])["finetune"].number)
        studies.append((study_of(arguments, seed, tokens, ["ensemble"]), ["ensemble"]))
    kept = ("score", "size_mb", "archive_mb")
    return {
        name: {key: trial.measurement[key] for key in kept}
        for study, names in studies for name, trial in trials_of(study, names).items()
    }  # fmt: skip


def measure(seed: int, tokens: int, names: list[str]) -> dict[str, Any]:
    """Speedup of each method's model over the finetune's, in turn, by its name. Models are written and taken away."""
    from autocompress.runtimes import isolated, latency
    from autocompress.serving.pipeline import Pipeline

    file, found = state(tokens, seed, "latency"), {}
    if file.exists():
        found = json.loads(file.read_text())
    study = Study.open(f"methods-{tokens}-{seed}")
    trials = trials_of(study, names)  # `ensemble` is another study's, and its model is as large as the finetune's
    with tempfile.TemporaryDirectory(dir=".") as scratch:
        plain = study.export(Path(scratch) / "finetune", trial=trials["finetune"].number)
        pipeline = Pipeline(plain)
        rows = pipeline.kind.examples(pipeline.tokenizer, [("text",)], [pipeline.kind.label((0,))], 8)
        batch = latency.latency_batch(rows, pipeline.target)
        for name, trial in trials.items():
            if name in found or name == "finetune":
                continue
            with tempfile.TemporaryDirectory(dir=scratch) as own:
                folder = study.export(Path(own) / "model", trial=trial.number)
                found[name] = isolated.latency(folder, plain, batch, pipeline.target)
            file.write_text(json.dumps(found, indent=1) + "\n")
            print(f"{tokens} tokens, {name}: {found[name]['speedup']:.2f}x", flush=True)
    return found


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


def seconds_of_a_step(tokens: int) -> float:
    """A step of 32 texts of MiniLM, on this machine as it is now: four times that of 8."""
    import torch

    from autocompress.models.loading import load_model, locate

    model = load_model(locate("builtin/minilm", Path()), ("a", "b")).train()
    given = {"input_ids": torch.ones(8, tokens, dtype=torch.long), "attention_mask": torch.ones(8, tokens)}
    taken = []
    for _ in range(2):
        began = time.perf_counter()
        model(**given).logits.sum().backward()
        taken.append(time.perf_counter() - began)
    return 4 * min(taken)


def hours(arguments: argparse.Namespace, units: list[tuple[int, int, list[str]]]) -> float:
    """What is left to train takes about so long in one process."""
    steps = {SHORT: arguments.limit / 32, LONG: LONG_TEXTS / 32}
    each = {tokens: seconds_of_a_step(tokens) for tokens in {tokens for _, tokens, _ in units}}
    seconds: float = sum(
        RUN_SECONDS + each[tokens] * steps[tokens] * float(getattr(methods()[name](), "text_factor", 1)) * 1.5
        for _, tokens, names in units for name in names
    )  # fmt: skip
    return seconds / 3600


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
    about = f"{arguments.limit} training texts, {fingerprint.machine('cpu').get('cpu', '')}, {datetime.date.today()}."
    if arguments.phase == "table":
        write(about)
        return
    names = [name for name in methods() if name not in WITHOUT and (not arguments.only or name in arguments.only)]
    names = ["finetune", *[name for name in names if name != "finetune"]]
    long = ["finetune", *[name for name in names if methods()[name].family == "attention"]]
    with mine("texts") as first:
        if first:
            joined(arguments.long_train, Path("long-train.parquet"), LONG_TEXTS + 160)
            joined(arguments.long_test, Path("long-test.parquet"), 160)
    each = [(SHORT, names), *([(LONG, long)] if len(long) > 1 else [])]
    units = [(seed, tokens, those) for tokens, those in each for seed in range(arguments.seeds)]
    if arguments.phase == "measure":
        for tokens, those in each:
            measure(0, tokens, those)
        write(about)
        return
    units = [unit for unit in units if not state(unit[1], unit[0], "score").exists()]
    print(f"{len(units)} searches are left, about {hours(arguments, units):.1f} hours of one process", flush=True)
    for seed, tokens, those in units:
        with mine(f"methods-{tokens}-{seed}") as free:
            file = state(tokens, seed, "score")
            if free and not file.exists():
                file.write_text(json.dumps(train(arguments, seed, tokens, those), indent=1) + "\n")
                write(about)


if __name__ == "__main__":
    main()
