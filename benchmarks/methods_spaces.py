"""The searches of benchmarks.methods: the recipe in which each method is measured, and the same without it; how long
they take.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from autocompress.space.method import Method, methods

FINETUNE: dict[str, Any] = {"finetune": {"epochs": 1, "lr": 1e-4}}
HALF: dict[str, Any] = {"layers": {"keep": 0.5}}
TEACHER = "./teacher"
SHORT, LONG = 64, 512  # tokens
LONG_TEXTS = 320  # a step of 512 tokens takes twenty of 64
_RUN_SECONDS = 15.0  # of a recipe besides its steps: rehearsal, its latency, lowering, scores
_BY_ANSWERS = {"assistant", "transfer_set", "ensemble"}  # what they change is learnt by a teacher's answers

Recipe = list[Any]


def teaches(name: str) -> bool:
    """Whether it is for what a student learns: measured on half the layers, for nothing teaches a model itself."""
    method = methods()[name]
    return method.family == "distillation" and method.stage != "student"


def recipe_of(name: str) -> Recipe:
    """The method where it belongs, with the finetune that all have."""
    if name == "finetune":
        return [FINETUNE]
    if _is_lowering(methods()[name]):
        return [FINETUNE, _own(name)]
    return [*_before(name), _own(name), *_with(name), FINETUNE]


def without(name: str) -> Recipe:
    """That recipe without the method: what it is compared with."""
    return [*_before(name), *(_with(name) if teaches(name) else []), FINETUNE]


def names_of(recipe: Recipe) -> list[str]:
    return [step if isinstance(step, str) else next(iter(step)) for step in recipe]


def recipes_for(names: list[str]) -> list[Recipe]:
    """Those of the methods, after what they are compared with; none twice."""
    every = [[FINETUNE], *map(without, names), *map(recipe_of, names)]
    return [recipe for at, recipe in enumerate(every) if recipe not in every[:at]]


def space_for(arguments: argparse.Namespace, seed: int, tokens: int, names: list[str]) -> dict[str, Any]:
    """A search of these recipes and no others. Who teaches is trained longer than who learns, or has nothing to say."""
    recipes = recipes_for(names)
    trained = [recipe for recipe in recipes if recipe[-1] == FINETUNE]
    files = {"train": arguments.train, "test": arguments.test}
    limit = {"train": arguments.limit, "validation": 600}
    if tokens == LONG:
        files = {"train": Path("long-train.parquet"), "test": Path("long-test.parquet")}
        limit = {"train": LONG_TEXTS, "validation": 160}
    return {
        "model": "builtin/minilm",
        "teacher": {"finetune": {"epochs": 5 if any(map(teaches, names)) else 2, "lr": 2e-4}},
        "task": {
            "data": {name: str(file.resolve()) for name, file in files.items()}, "max_length": tokens, "limit": limit,
        },
        "target": {"runtime": "onnxruntime", "threads": 1, "sequence_length": tokens},
        "search": {
            "trials": len(trained), "seed": seed, "variants": 0, "rungs": "none", "built_in_anchors": False,
            "confirm": {"top": 0},
        },
        "anchors": recipes,
        "steps": [
            {"one_of": ["skip", *(recipe[:-1] for recipe in trained if len(recipe) > 1)]}, FINETUNE,
            {"one_of": ["skip", *(recipe[-1] for recipe in recipes if recipe not in trained)]},
        ],
    }  # fmt: skip


def _is_lowering(method: type[Method]) -> bool:
    return method.stage == "lower" and not method.pending


def _own(name: str) -> dict[str, Any]:
    knobs = {"teachers": [TEACHER]} if name == "ensemble" else {}
    return {name: methods()[name](**knobs).model_dump(mode="json")}


def _before(name: str) -> Recipe:
    return [HALF] if teaches(name) else []


def _with(name: str) -> Recipe:
    return ["soft_labels"] if name in _BY_ANSWERS or methods()[name].stage == "student" else []


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
        _RUN_SECONDS + each[tokens] * steps[tokens] * float(getattr(methods()[name](), "text_factor", 1)) * 1.5
        for _, tokens, names in units for name in names
    )  # fmt: skip
    return seconds / 3600
