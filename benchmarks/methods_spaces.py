"""The searches of benchmarks.methods: the recipe in which each method is measured, and the same without it; how long
they take.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

from autocompress.space.method import Method, methods

HALF: dict[str, Any] = {"layers": {"keep": 0.5}}
TEACHER = "./teacher"


class Setting(NamedTuple):
    """Where methods are measured."""

    tokens: int
    epochs: int = 1

    @property
    def name(self) -> str:
        return f"{self.tokens}" + (f"x{self.epochs}" if self.epochs > 1 else "")

    def finetune(self, lr: float | list[float] = 1e-4) -> dict[str, Any]:
        return {"finetune": {"epochs": self.epochs, "lr": lr}}


SHORT, LONG, LONGER = Setting(64), Setting(512), Setting(64, epochs=8)
WANT_LONGER = ("low_rank", "rank_gates", "l0_gates", "cross_layer", "tensor_train", "student")
STUDENTS = 1e-3  # lr: most of what a student has was drawn at random
LONG_TEXTS = 320  # a step of 512 tokens takes twenty of 64
_RUN_SECONDS = 15.0  # of a recipe besides its steps: rehearsal, its latency, lowering, scores
_BY_ANSWERS = {"assistant", "transfer_set", "ensemble"}  # what they change is learnt by a teacher's answers

Recipe = list[Any]


def teaches(name: str) -> bool:
    """Whether it is for what a student learns: measured on half the layers, for nothing teaches a model itself."""
    return methods()[name].family == "distillation" and not _is_student(name)


def recipe_of(name: str, setting: Setting) -> Recipe:
    """The method where it belongs, with the finetune that all have."""
    if name == "finetune":
        return [setting.finetune()]
    if _is_lowering(methods()[name]):
        return [setting.finetune(), _own(name)]
    finetune = setting.finetune(STUDENTS) if _is_student(name) else setting.finetune()
    return [*_before(name), _own(name), *_with(name), finetune]


def without(name: str, setting: Setting) -> Recipe:
    """That recipe without the method: what it is compared with."""
    return [*_before(name), *(_with(name) if teaches(name) else []), setting.finetune()]


def names_of(recipe: Recipe) -> list[str]:
    return [step if isinstance(step, str) else next(iter(step)) for step in recipe]


def recipes_for(names: list[str], setting: Setting) -> list[Recipe]:
    """Those of the methods, after what they are compared with; none twice."""
    every = [[setting.finetune()], *(without(n, setting) for n in names), *(recipe_of(n, setting) for n in names)]
    return [recipe for at, recipe in enumerate(every) if recipe not in every[:at]]


def space_for(arguments: argparse.Namespace, seed: int, setting: Setting, names: list[str]) -> dict[str, Any]:
    """A search of these recipes and no others. Who teaches is trained longer than who learns, or has nothing to say."""
    recipes, tokens = recipes_for(names, setting), setting.tokens
    trained = [recipe for recipe in recipes if "finetune" in recipe[-1]]
    files = {"train": arguments.train, "test": arguments.test}
    limit = {"train": arguments.limit, "validation": 600}
    if setting == LONG:
        files = {"train": Path("long-train.parquet"), "test": Path("long-test.parquet")}
        limit = {"train": LONG_TEXTS, "validation": 160}
    return {
        "model": "builtin/minilm",
        "teacher": {"finetune": {"epochs": 5 if any(map(teaches, names)) else 2, "lr": 2e-4}},
        "task": {
            "data": {name: str(file.resolve()) for name, file in files.items()}, "max_length": tokens, "limit": limit,
        },
        "target": {"runtime": "onnxruntime", "threads": 1, "sequence_length": tokens},
        "objectives": {"score": "maximize", "latency_ms": "minimize", "size_mb": "minimize", "archive_mb": "minimize"},
        "search": {
            "trials": len(trained), "seed": seed, "variants": 0, "rungs": "none", "built_in_anchors": False,
            "confirm": {"top": 0},
        },
        "anchors": recipes,
        "steps": [
            {"one_of": ["skip", *(recipe[:-1] for recipe in trained if len(recipe) > 1)]},
            setting.finetune([1e-4, STUDENTS]),
            {"one_of": ["skip", *(recipe[-1] for recipe in recipes if recipe not in trained)]},
        ],
    }  # fmt: skip


def _is_student(name: str) -> bool:
    return methods()[name].stage == "student"


def _is_lowering(method: type[Method]) -> bool:
    return method.stage == "lower" and not method.pending


def _own(name: str) -> dict[str, Any]:
    knobs = {"teachers": [TEACHER]} if name == "ensemble" else {}
    return {name: methods()[name](**knobs).model_dump(mode="json")}


def _before(name: str) -> Recipe:
    return [HALF] if teaches(name) else []


def _with(name: str) -> Recipe:
    return ["soft_labels"] if name in _BY_ANSWERS or _is_student(name) else []


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


def hours(arguments: argparse.Namespace, units: list[tuple[int, Setting, list[str]]]) -> float:
    """What is left to train takes about so long in one process."""
    texts = {SHORT: arguments.limit, LONG: LONG_TEXTS, LONGER: arguments.limit}
    each = {tokens: seconds_of_a_step(tokens) for tokens in {setting.tokens for _, setting, _ in units}}
    seconds: float = sum(
        _RUN_SECONDS + each[setting.tokens] * setting.epochs * texts[setting] / 32
        * float(getattr(methods()[name](), "text_factor", 1)) * 1.5
        for _, setting, names in units for name in names
    )  # fmt: skip
    return seconds / 3600
