"""What is told of recipes without lowering them: by known answers, beside real files, and what a search makes of it."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import context, tiny, toy, usual
from tiny_project import SPACE
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from autocompress.errors import NotApplicable
from autocompress.machine import cache
from autocompress.methods.context import Context
from autocompress.models import storage
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes import flops, latency
from autocompress.runtimes.onnxruntime.runtime import OnnxRuntime
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.goals import Constraint, Goals
from autocompress.space.method import find, methods
from autocompress.space.recipe import Recipe, Steps
from autocompress.study import Study
from autocompress.trials.job import Job, Result
from autocompress.trials.perform import perform
from autocompress.trials.prediction.foresight import Foreseer, Foresight
from autocompress.trials.prediction.pieces import count
from autocompress.trials.prediction.posterior import Observation, Posterior
from autocompress.trials.prediction.structure import structure

BATCH = toy(8).batch(list(range(4)))
TAKES = {"wide": 3.0, "narrow": 0.5, "call": 0.02}  # what a unit takes on a machine that is made up


def noise(figure: float) -> float:
    return 0.02 * figure


def made_up(rng: random.Random) -> dict[str, float]:
    """A model's pieces."""
    return {"wide": rng.uniform(0.5, 6), "narrow": rng.uniform(0.5, 6), "call": float(rng.randint(10, 60))}


def measured(work: dict[str, float], off: float = 0.0) -> Observation:
    figure = sum(TAKES[name] * amount for name, amount in work.items() if name in TAKES) * (1 + off)
    return Observation(work, figure, 0.02 * figure)


def test_what_pieces_take_is_found_and_intervals_hold() -> None:
    rng = random.Random(0)
    whole = measured({"wide": 6.0, "narrow": 6.0, "call": 60.0})
    usually = {"wide": 2.0, "narrow": 2.0, "call": 0.1}.__getitem__
    few, many = (
        Posterior([whole, *(measured(made_up(rng), rng.gauss(0, 0.02)) for _ in range(n))], usually) for n in (1, 40)
    )
    halves, held = [], 0
    for _ in range(100):
        work = made_up(rng)
        told, truth = many.tell(work, noise), measured(work).figure
        halves.append((told.high - told.low) / 2 / told.figure)
        held += told.low <= truth <= told.high
        assert told.figure == pytest.approx(truth, rel=0.06)
        assert few.tell(work, noise).high - few.tell(work, noise).low > told.high - told.low, (
            "who has seen more knows more"
        )
        assert not told.strange
    assert held >= 97
    assert max(halves) < 0.15
    half = few.tell({name: amount / 2 for name, amount in whole.work.items()}, noise)
    assert half.figure == pytest.approx(whole.figure / 2, rel=0.02), "half of all pieces takes half as long"


def test_intervals_hold_however_many_were_seen() -> None:
    """No model is the sum of its pieces: each is 5 % off, and no number of others says by how much."""
    rng = random.Random(0)
    whole = measured({"wide": 6.0, "narrow": 6.0, "call": 60.0})
    usually = {"wide": 2.0, "narrow": 2.0, "call": 0.1}.__getitem__
    seen = [
        one._replace(noise=0.06 * one.figure)
        for one in (measured(made_up(rng), rng.gauss(0, 0.05)) for _ in range(200))
    ]
    posterior = Posterior([whole, *seen], usually)
    held = 0
    for _ in range(200):
        new = measured(made_up(rng), rng.gauss(0, 0.05))
        told = posterior.tell(new.work, lambda figure: 0.06 * figure)
        held += told.low <= new.figure <= told.high
        assert (told.high - told.low) / 2 < 0.2 * told.figure
    assert held >= 190


def test_a_piece_that_was_never_measured_may_take_anything() -> None:
    seen = [
        measured({"wide": w, "narrow": n, "call": 30.0}) for w, n in ((6.0, 6.0), (3.0, 6.0), (6.0, 2.0), (2.0, 2.0))
    ]
    posterior = Posterior(seen, {"wide": 2.0, "narrow": 2.0, "call": 0.1, "new": 2.0}.__getitem__)
    work = {"wide": 3.0, "narrow": 3.0, "call": 30.0}
    known, told = posterior.tell(work, noise), posterior.tell(work | {"new": 4.0}, noise)
    assert told.strange
    assert told.low == pytest.approx(known.low), "it may also take next to nothing"
    assert told.high > 2 * told.figure


@pytest.mark.parametrize("name", [name for name in methods() if name != "tied_embeddings"])
def test_a_structure_is_that_of_the_rehearsal(name: str) -> None:
    method = usual(find(name))
    recipe, model = Recipe([method, find("finetune")()] if method.waits else [method]), tiny()
    before = model.state_dict()
    shaped = structure(model, context(model, train=False), recipe)
    kept = method.estimated or method.uses_corpus or method.uses_target
    assert (shaped is None) == kept, "guessed shapes, and those that texts decide, are found by the rehearsal alone"
    rehearsal = context(model, train=False)
    real = carried_out(model, recipe, rehearsal)  # afterwards: nothing that a process remembers is without numbers
    if shaped is not None:
        assert signature(*shaped) == signature(real, rehearsal.precision)
        assert all(p.is_meta for p in shaped[0].parameters())
        pieces, known = count(*shaped, BATCH, find_runtime("onnxruntime")), flops.measure_module(real, BATCH)
        assert (pieces.flops, pieces.parameters) == (known["flops"], known["parameters"])
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in before.items())


def carried_out(model: nn.Module, recipe: Recipe, ctx: Context) -> nn.Module:
    model = copy.deepcopy(model)
    for method in recipe:
        model = method.apply(model, ctx)
    return model.eval()


def signature(model: nn.Module, plan: PrecisionPlan) -> str:
    """Without the scales, which follow from texts."""
    return storage.signature(model, PrecisionPlan(plan))


LOWERED: list[Steps] = [
    [], [{"low_rank": {}}], [{"kronecker": {}}], [{"tensor_train": {"rank": 8}}],
    [{"factorized_embedding": {"width": 32}}],
    [{"cross_layer": {"groups": 1}}], [{"hidden": {}}], [{"layers": {}}, {"heads": {}}, {"neurons": {}}],
    [{"linear": {}}],
    [{"half": {}}], [{"int8_dynamic": {}}], [{"int8_dynamic": {"embeddings": False, "per_token": False}}],
    [{"int8_static": {}}], [{"low_rank": {}}, {"int8_dynamic": {}}], [{"weight_only": {"bits": 4}}],
    [{"weight_only": {"bits": 8}}], [{"codebook": {"bits": 2}}], [{"codebook": {"method": "product"}}],
    [{"embedding": {"bits": 4}}], [{"ternary": {}}, {"finetune": {}}],
    [{"low_rank": {"keep": 0.8}}, {"weight_only": {"bits": 8}}],  # ranks that are no whole number of groups
    [{"neurons": {"keep": 0.55}}, {"weight_only": {"bits": 4}}],
]  # fmt: skip


def small() -> nn.Module:
    """2 layers x 128: its graph is a hundredth of its file, no more."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=6000, hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512,
        max_position_embeddings=64, num_labels=3,
    )  # fmt: skip
    return BertForSequenceClassification(config).eval()


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch"])
def test_sizes_are_those_of_files(runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    found, model = find_runtime(runtime), small()
    wrong = {}
    foreseer: Foreseer | None = None
    for i, steps in enumerate(LOWERED):
        recipe, ctx, folder = Recipe.load(steps), context(model, train=False), tmp_path / str(i)
        real = carried_out(model, recipe, ctx)
        try:
            found.support(ctx.precision, ctx.target)
            found.lower(real, ctx.precision, BATCH, folder)
        except NotApplicable:
            continue
        size_mb = latency.size_mb(found.artefact(folder))
        foreseer = foreseer or Foreseer("here", BATCH, model, size_mb, found)
        shaped = structure(model, context(model, train=False), recipe)
        assert shaped
        told = foreseer.foresee(*shaped, reference_ms=1.0).figures
        if abs(told["size_mb"] / size_mb - 1) > 0.01:
            wrong[recipe.title] = (told["size_mb"], size_mb)
        assert told["size_mb_low"] <= size_mb <= told["size_mb_high"], recipe.title
        assert "latency_ms" not in told, "nothing was timed"
    assert not wrong


def test_a_limit_is_broken_kept_or_in_doubt() -> None:
    goals, baseline = (
        Goals({"score": "maximize"}, (Constraint.parse("latency_ms <= 0.5 * baseline"),)),
        {"latency_ms": 20.0},
    )

    def verdict(low: float, high: float, *, certain: bool = True) -> str:
        figures = {"latency_ms": (low + high) / 2, "latency_ms_low": low, "latency_ms_high": high}
        return Foresight(figures, certain).verdict(goals, baseline)

    assert [verdict(11, 13), verdict(9, 11), verdict(7, 9)] == ["broken", "doubt", "kept"]
    assert [verdict(11, 13, certain=False), verdict(7, 9, certain=False)] == ["broken", "doubt"]
    assert Foresight({"size_mb": 3.0}, certain=True).verdict(goals, baseline) == "doubt", "no latency is told"


MEASURED: list[Steps] = [
    [{"layers": {"keep": 0.5}}], [{"neurons": {"keep": 0.5, "multiple": 8}}], [{"heads": {"keep": 0.5}}],
]  # fmt: skip
LEFT: Steps = [{"layers": {"keep": 0.5}}, {"neurons": {"keep": 0.5, "multiple": 8}}, {"finetune": {}}]


def study_with(project: Path, limit: str) -> Study:
    """One whose baseline is measured."""
    space = project.with_name(f"{abs(hash(limit))}.yaml")
    space.write_text(SPACE.replace("size_mb <= 0.95 * baseline", limit))
    study = Study.create(space)
    found = rehearsed(study, [], "baseline").measurement
    cache.write_json(study.folder / "study.json", study.record | {"baseline": {"measurement": found, "seconds": {}}})
    return study


def rehearsed(study: Study, steps: Steps, kind: Any = "rehearse") -> Result:
    result = perform(Job(kind, study.data, 0, Recipe.load(steps).dump()), lambda *_: None)
    assert not result.failure, result.failure
    return result


def test_what_is_in_no_doubt_is_not_lowered(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lowered, whole = [], OnnxRuntime.lower

    def lower(*args: Any) -> None:
        lowered.append(args)
        whole(*args)

    strict = study_with(project, "latency_ms <= 0.02 * baseline")
    monkeypatch.setattr(OnnxRuntime, "lower", lower)
    told = [rehearsed(strict, steps) for steps in MEASURED]
    assert len(lowered) == len(told) == 3, "of a machine of which nothing is known"
    assert all(each.measurement["latency_ms"] and not each.predicted for each in told)

    refused = rehearsed(strict, LEFT)
    assert len(lowered) == 3
    assert not refused.measurement
    assert refused.predicted["latency_ms_low"] > 0.02 * strict.data.reference_ms
    assert rehearsed(strict, LEFT) == refused or rehearsed(strict, LEFT).predicted == refused.predicted

    near = study_with(project, f"latency_ms <= {refused.predicted['latency_ms']:.6f}")
    lowered.clear()
    decided = rehearsed(near, LEFT)
    assert len(lowered) == 1, "a limit within the interval"
    assert decided.measurement["latency_ms"]
    assert not decided.predicted
