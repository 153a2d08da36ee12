"""A compression search whose answers are a formula: nothing is trained, so a sampler can be judged over many seeds.

The recipes are real ones, of a real search space; only what they would measure is made up, from what is known of
BERT-base: 24 M parameters of embeddings, 85 M in 12 layers, a third of those in attention and two thirds in the
feed-forwards; a classifier that errs on 8 % of the texts and takes 10.5 ms. Removing layers costs most, distillation
gives some of that back, int8 is cheap unless it comes on top of factors, and a wrong learning rate spoils everything.
About half of all random recipes meet the limits on latency and size.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from itertools import product
from typing import Any

from autocompress.engine.front.hypervolume import hypervolume
from autocompress.space.goals import Measurement, dominates
from autocompress.space.recipe import Recipe
from autocompress.space.search_space import SearchSpace
from autocompress.trials.job import Job
from benchmarks.simulation import Answer

BASELINE: Measurement = {"score": 0.92, "latency_ms": 10.5, "size_mb": 436.0}
WORST_SCORE, LATENCY_MS, SIZE_MB = 0.6, 6.0, 240.0  # the corner that hypervolumes are measured from
KEEP = {"low": 0.1, "high": 0.95}
SPACE: dict[str, Any] = {
    "model": "analytic",
    "task": {"data": "analytic"},
    "constraints": [f"latency_ms <= {LATENCY_MS}", f"size_mb <= {SIZE_MB}"],
    "steps": [
        {"one_of": ["skip", {"layers": {"keep": {"low": 0.16, "high": 0.92}, "strategy": "alternate"}}]},
        {"one_of": ["skip", {"heads": {"keep": KEEP}}, {"neurons": {"keep": KEEP}}, {"low_rank": {"keep": KEEP}}]},
        {"one_of": ["skip", "soft_labels", "hidden_states"]},
        {"finetune": {"epochs": {"low": 1, "high": 5}, "lr": {"low": 1e-6, "high": 1e-3, "log": True}}},
        {"one_of": ["skip", "int8_dynamic"]},
    ],
}


def space(**search: Any) -> SearchSpace:
    """The space, with these search settings."""
    return SearchSpace.parse(SPACE | {"search": search})


def measured(recipe: Recipe) -> Measurement:
    """What the recipe would measure."""
    knobs = {method.name: method.model_dump() for method in recipe}
    layers = max(1, round(12 * knobs["layers"]["keep"])) / 12 if "layers" in knobs else 1.0
    cut = next((name for name in ("heads", "neurons", "low_rank") if name in knobs), None)
    gone = 1 - knobs[cut]["keep"] if cut else 0.0
    if cut == "low_rank" and knobs[cut]["scope"] == "ffn":
        gone *= 2 / 3
    share, speed = {"heads": (0.33, 0.3), "neurons": (0.66, 0.6), "low_rank": (0.9, 0.7), None: (0.0, 0.0)}[cut]
    body, latency = 85 * layers * (1 - share * gone), 10 * layers * (1 - speed * gone)
    bytes_of, faster, rounding = _int8(knobs.get("int8_dynamic"), layers)
    error = 0.08 + 0.16 * (1 - layers) ** 2 * _distilled(knobs) + rounding + _trained(knobs["finetune"])
    error += {"heads": 0.12, "neurons": 0.18, "low_rank": 0.14, None: 0.0}[cut] * gone**2 * (1.5 - 0.5 * layers)
    error += 0.03 * gone if cut == "low_rank" and rounding else 0.0
    size = 24 * (1 if "int8_dynamic" in knobs else 4) + body * bytes_of
    return {"score": 1 - error, "latency_ms": latency * faster + 0.5, "size_mb": size}


def _int8(knobs: dict[str, Any] | None, layers: float) -> tuple[float, float, float]:
    """Bytes a parameter, share of the latency, error."""
    if knobs is None:
        return 4.0, 1.0, 0.0
    kept = {"none": 0.0, "classifier": 0.01, "first_last": min(1.0, 2 / (12 * layers))}[knobs["exclude"]]
    careless = {"none": 1.3, "classifier": 1.0, "first_last": 0.5}[knobs["exclude"]]
    return 1 + 3 * kept, 0.55 + 0.45 * kept, 0.008 * careless * (1 if knobs["per_token"] else 2)


def _distilled(knobs: dict[str, Any]) -> float:
    """The share of the layers' loss that distillation leaves."""
    if soft := knobs.get("soft_labels"):
        off = 0.05 * math.log(soft["temperature"] / 3) ** 2 + 0.02 * math.log(soft["weight"] / 2) ** 2
        return 0.7 + min(0.3, off)
    if hidden := knobs.get("hidden_states"):
        off = 0.03 * math.log(hidden["weight"]) ** 2 + (0.1 if hidden["mapping"] == "last" else 0.0)
        return 0.55 + min(0.45, off)
    return 1.0


def _trained(knobs: dict[str, Any]) -> float:
    """The error that a wrong learning rate and a short training leave."""
    return float(0.012 * (math.log10(knobs["lr"]) + 4.5) ** 2 + 0.02 / knobs["epochs"])


def volume(measurements: list[Measurement]) -> float:
    """The feasible hypervolume, as a share of the box between the corner and a perfect model."""
    costs = {(1 - m["score"], m["latency_ms"], m["size_mb"]) for m in measurements}
    corner = (1 - WORST_SCORE, LATENCY_MS, SIZE_MB)
    feasible = [c for c in costs if c[1] <= LATENCY_MS and c[2] <= SIZE_MB]
    return hypervolume(feasible, corner) / math.prod(corner)


def best_volume(steps: int = 35) -> float:
    """That of the true front, by enumerating every shape on a grid of `steps` values a knob.

    Knobs that only training feels stand at their best, which is the same for every shape: their terms are added, or
    multiply a loss that is never negative.
    """
    found: dict[tuple[float, float], float] = {}
    for recipe in _shapes(steps):
        m = measured(recipe)
        if m["latency_ms"] <= LATENCY_MS and m["size_mb"] <= SIZE_MB:
            shape = m["latency_ms"], m["size_mb"]
            found[shape] = max(found.get(shape, 0.0), m["score"])
    goals, every = space().goals, [{"score": s, "latency_ms": t, "size_mb": b} for (t, b), s in found.items()]
    costs = [goals.costs(m) for m in every]
    return volume([m for m, cost in zip(every, costs, strict=True) if not any(dominates(c, cost) for c in costs)])


def _shapes(steps: int) -> Iterator[Recipe]:
    keeps = [KEEP["low"] + i * (KEEP["high"] - KEEP["low"]) / (steps - 1) for i in range(steps)]
    cuts: list[list[dict[str, Any]]] = [[]] + [[{cut: {"keep": k}}] for cut in ("heads", "neurons") for k in keeps]
    cuts += [[{"low_rank": {"keep": k, "scope": scope}}] for scope in ("all", "ffn") for k in keeps]
    lowered: list[list[dict[str, Any]]] = [[]]
    lowered += [[{"int8_dynamic": {"exclude": e}}] for e in ("none", "classifier", "first_last")]
    layers: list[list[dict[str, Any]]] = [[]] + [[{"layers": {"keep": n / 12}}] for n in range(2, 12)]
    training = [{"hidden_states": {"weight": 1.0, "mapping": "skip"}}, {"finetune": {"epochs": 5, "lr": 10**-4.5}}]
    for first, cut, last in product(layers, cuts, lowered):
        yield Recipe.load([*first, *cut, *training, *last])


class Analytic:
    """The problem as `simulation.Simulation` asks it."""

    baseline, trials = BASELINE, 60

    def space(self, **search: Any) -> SearchSpace:
        return space(**search)

    def volume(self, measurements: list[Measurement]) -> float:
        return volume(measurements)

    def best(self) -> float:
        return best_volume()

    def answer(self, job: Job) -> Answer:
        """Training costs 10 s an epoch of the whole model, and less of a smaller one."""
        recipe = Recipe.load(job.recipe)
        known = measured(recipe)
        if job.kind == "rehearse":
            return Answer({name: known[name] for name in ("latency_ms", "size_mb")}, 2.0)
        if job.kind == "evaluate":
            return Answer(known, 5.0)
        plain = measured(Recipe(m for m in recipe if m.stage != "lower"))
        whole = 10 * recipe.trained[-1].epochs * (0.3 + 0.7 * plain["latency_ms"] / BASELINE["latency_ms"])  # type: ignore[attr-defined]
        return Answer({}, whole * job.share, _rung(recipe, job.share, plain["score"]))


def _rung(recipe: Recipe, share: float, final: float) -> float:
    """The score at a share of the training: behind the final one by what a learning rate that is still high unsettles.

    With lr at 0.2, 0.6 and 2 times its best, 54 real trainings (results/tabulated.parquet) were behind by .02, .06 and
    .14 at a ninth and -.02, .04 and .09 at a third: about .085 (lr / best)^.9 (1 - share)^1.7. To that comes the chance
    of which 200 texts a rung is scored on: a standard deviation of .03.
    """
    lr = next(m for m in recipe if m.name == "finetune").lr  # type: ignore[attr-defined]
    gap = min(0.2, 0.085 * (lr / 10**-4.5) ** 0.9) * (1 - share) ** 1.7
    return final - gap + random.Random(f"{recipe.trained.key} {share}").gauss(0, 0.03)
