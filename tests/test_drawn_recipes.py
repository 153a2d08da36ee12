"""Any legal recipe of the whole catalogue: its model is stored, loaded and exported with equal answers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import KNOBS, context, fresh, tiny, toy
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.models import storage
from autocompress.models.simulation import simulate
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.method import Method, find, methods
from autocompress.space.recipe import Recipe
from autocompress.space.settings import Target
from autocompress.tasks.dataset import inputs
from autocompress.trials.stages import Model, open_model, save_model

pytestmark = pytest.mark.slow

ONNX, TARGET = find_runtime("onnxruntime"), Target()
TEXTS = list(toy(24).batches(4))
FINETUNE = {"epochs": 1, "lr": 1e-3}
AT = {"student": 0, "structure": 1, "factor": 2, "train": 3, "lower": 4}


def one(name: str) -> st.SearchStrategy[Method]:
    """The method, every knob at some value of its own range, or as tests of tiny models have it."""
    cls, usual = find(name), KNOBS.get(name, {})
    if cls.trains:
        return st.just(cls(**FINETUNE))
    free = {k: st.sampled_from(d.extremes) for k, d in cls.knobs().items() if k not in usual}
    return st.fixed_dictionaries(free).map(lambda knobs: cls(**knobs, **usual))


def recipe() -> st.SearchStrategy[Recipe]:
    """Up to five methods, those of the later stages last, with a training before or among them."""
    drawn = st.lists(st.sampled_from([n for n in methods() if n != "finetune"]), min_size=1, max_size=5, unique=True)
    trained = st.tuples(drawn, st.booleans()).map(
        lambda two: sorted(two[0], key=lambda name: AT[find(name).stage]) if two[1] else two[0]
    )
    placed = st.tuples(trained, st.integers(0, 5)).map(lambda two: [*two[0][: two[1]], "finetune", *two[0][two[1] :]])
    return placed.flatmap(lambda names: st.tuples(*map(one, names))).map(Recipe).filter(lambda r: r.fault() is None)


def carried_out(recipe: Recipe) -> tuple[nn.Module, Context]:
    """What comes of it. A method that has no meaning after the others makes the recipe none that counts."""
    model = tiny()
    ctx = context(fresh(model))
    for method in recipe:
        try:
            model = method.apply(model, ctx)
        except NotApplicable:
            assume(False)
    return model.eval(), ctx


def answers(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return torch.cat([model(**inputs(batch)).logits for batch in TEXTS])


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),  # every trial of a smaller one trains: read the recipe that is printed
)
@given(recipe())
def test_a_drawn_recipe_survives(recipe: Recipe) -> None:
    model, ctx = carried_out(recipe)
    expected = answers(model)
    with tempfile.TemporaryDirectory() as folder:
        save_model(Model(model, ctx.precision), Path(folder, "model"))
        loaded, plan = open_model(Path(folder, "model"))
        assert torch.equal(answers(loaded), expected)
        assert plan == ctx.precision
        assert storage.signature(loaded, plan) == storage.signature(model, ctx.precision)
        try:
            ONNX.support(plan, TARGET)
        except NotApplicable:
            return  # this target has no kernel for it, and a search says so
        ONNX.lower(loaded, plan, toy().batch([0]), Path(folder, "artefact"))
        session = ONNX.open(Path(folder, "artefact"), TARGET)
        given_ = np.concatenate([session.run(batch) for batch in TEXTS])
    computed = answers(simulate(loaded, plan)).numpy() if plan else expected.numpy()
    assert np.abs(given_ - computed).max() <= (0.1 if plan else 1e-4) * max(1.0, np.abs(computed).max())
