"""What every method promises. A new method gets these checks by existing."""

from __future__ import annotations

import functools
import inspect
import json
import re

import pytest
import torch
from conftest import context, every_family, fresh, tiny, toy, usual
from pydantic import ValidationError
from torch import Tensor, nn

from autocompress.errors import ConfigError, NotApplicable
from autocompress.methods.context import Context
from autocompress.models import storage
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.models.simulation import simulate
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.distributions import Fixed
from autocompress.space.method import Method, methods
from autocompress.space.recipe import Recipe
from autocompress.tasks.dataset import inputs

every_method = pytest.mark.parametrize("method", methods().values(), ids=methods())
# all that act on a classifier
CLASSIFIERS = {name: method for name, method in methods().items() if name != "tied_embeddings"}
every_acting_method = pytest.mark.parametrize("method", CLASSIFIERS.values(), ids=CLASSIFIERS)
everywhere = pytest.mark.parametrize(
    ("method", "family"),
    [
        pytest.param(m, f, id=f"{n}-{f}") for n, m in CLASSIFIERS.items() for f in ("bert", "distilbert")
    ],  # all: the matrix
)


def apply(method: Method, model: nn.Module, ctx: Context) -> nn.Module:
    """Apply it as a recipe would: what a pending method leaves is carried out by a short finetune."""
    model = method.apply(fresh(model), ctx)
    return finetuned(model, ctx) if method.waits else model


@functools.cache
def applied(method: type[Method], family: str) -> tuple[nn.Module, Context]:
    """What it makes of a tiny model, and the context after it: made once, and only read."""
    model = tiny(family)
    ctx = context(model)
    return apply(usual(method), model, ctx), ctx


def finetuned(model: nn.Module, ctx: Context) -> nn.Module:
    return methods()["finetune"](epochs=1, lr=1e-3).apply(model, ctx)


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(**inputs(toy(8).batch(list(range(8))))).logits


@every_method
def test_file_class_and_name_agree(method):
    assert method.__name__ == "".join(word.title() for word in method.name.split("_"))
    assert method.__module__ == f"autocompress.methods.{method.family}.{method.name}"


@every_method
def test_card_cites_its_source_and_class_says_when_it_pays(method):
    card = inspect.getdoc(inspect.getmodule(method))
    assert re.search(r"arXiv:\d{4}\.\d{4,5}|\b(19|20)\d\d\b", card), "cite the paper"
    assert method.__dict__["__doc__"], "say when it pays"


@every_method
def test_card_explains_every_choice_that_is_searched(method):
    card = inspect.getdoc(inspect.getmodule(method))
    words = {value for d in method.knobs().values() for value in d.extremes if isinstance(value, str)}
    assert {word for word in words if word not in card} == set()


@every_method
def test_default_recipe_round_trips(method):
    recipe = Recipe([method()])
    assert Recipe.load(json.loads(json.dumps(recipe.dump()))) == recipe


@every_method
def test_default_range_is_legal_and_holds_the_default(method):
    for name, searched in method.knobs().items():
        for value in searched.extremes:
            assert method.check(name, value) == value
        default = method.model_fields[name].default
        low, *_, high = sorted(searched.extremes) if not isinstance(searched, Fixed) else (default, default)
        assert low <= default <= high


@every_method
def test_unknown_knob_and_illegal_value_are_refused(method):
    with pytest.raises(ValidationError):
        method(no_such_knob=1)
    for name in method.model_fields:
        with pytest.raises(ConfigError, match=rf"^{method.name}\.{name} .*Got \[\['neither'\]\]\.$"):
            method.check(name, [["neither"]])


@everywhere
def test_acts_and_keeps_the_interface(method, family):
    before = logits(tiny(family))
    changed, ctx = applied(method, family)
    after = logits(changed)
    assert after.shape == before.shape
    assert after.isfinite().all()
    assert ctx.precision or not torch.equal(before, after), "changed nothing: raise NotApplicable"
    assert not ctx.losses
    assert not ctx.schedules


@every_acting_method
def test_same_seed_same_model(method):
    model = tiny()
    first, second = (apply(usual(method), model, context(model, seed=3)).state_dict() for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@everywhere
def test_rehearsal_has_the_shapes_and_the_plan_of_the_real_run(method, family):
    real, ctx = applied(method, family)
    model = tiny(family)
    rehearsal = context(model, train=False)
    rehearsed = apply(usual(method), model, rehearsal)
    if method.estimated:
        found, guessed = (sum(p.numel() for p in each.parameters()) for each in (real, rehearsed))
        assert guessed == pytest.approx(found, rel=0.1)
        return
    assert storage.signature(real, ctx.precision) == storage.signature(rehearsed, rehearsal.precision)


@every_acting_method
def test_values_only_methods_keep_the_signature_and_the_others_do_not(method):
    model = tiny()
    ctx = context(model, train=False)
    before = storage.signature(model, ctx.precision)
    after = storage.signature(apply(usual(method), model, ctx), ctx.precision)
    assert (before == after) == method.values_only


@everywhere
def test_saved_and_loaded_it_gives_the_same_logits(method, family, tmp_path):
    changed, _ = applied(method, family)
    storage.save(changed, tmp_path)
    assert torch.equal(logits(storage.load(tmp_path)), logits(changed))


@pytest.fixture(scope="module")
def dense_bytes(tmp_path_factory):
    """Of the ONNX file of the model that methods act on."""
    runtime, folder = find_runtime("onnxruntime"), tmp_path_factory.mktemp("dense")
    runtime.lower(tiny(), PrecisionPlan(), toy(8).batch(list(range(8))), folder)
    return runtime.artefact(folder).stat().st_size


@pytest.mark.parametrize("method", [m for m in CLASSIFIERS.values() if not m.values_only], ids=lambda m: m.name)
def test_lowered_artefact_really_changed(method, dense_bytes, tmp_path):
    """Fewer bytes in the ONNX file, if it is for them, and the answers of the module as the plan rounds it."""
    runtime, batch = find_runtime("onnxruntime"), toy(8).batch(list(range(8)))
    done, ctx = applied(method, "bert")
    changed = fresh(done)
    expected = logits(simulate(changed, ctx.precision))
    runtime.lower(changed, ctx.precision, batch, tmp_path / "changed")
    if "bytes" in method.pays:
        assert runtime.artefact(tmp_path / "changed").stat().st_size < dense_bytes
    assert not changed.training, "lowering must leave the module in eval mode: later steps and the teacher rely on it"
    given = torch.from_numpy(runtime.open(tmp_path / "changed", ctx.target).run(batch))
    torch.testing.assert_close(given, expected, rtol=0, atol=0.02 if ctx.precision else 1e-5)


@every_acting_method
def test_leaves_the_original_and_the_gradients_flowing(method):
    model = tiny()
    ctx = context(model)
    before = logits(model)
    changed = apply(usual(method), model, ctx)
    assert torch.equal(logits(model), before)
    assert all(p.requires_grad and p.grad is None for p in changed.parameters())
    assert not changed.training
    if method.stage != "lower":
        again = logits(changed)
        assert not torch.equal(logits(finetuned(changed, ctx)), again)


@pytest.mark.parametrize("method", [m for m in methods().values() if m.pending], ids=lambda m: m.name)
def test_a_pending_method_changes_what_is_learnt(method):
    teacher, student = tiny("bert"), tiny("bert")
    with torch.no_grad():
        student.classifier.weight.mul_(-1)
        student.bert.encoder.layer[0].output.dense.weight.mul_(0.5)
    other = fresh(teacher)
    with torch.no_grad():
        other.classifier.weight.mul_(2)
    # what changes the teacher alone is seen by what learns from one
    learns = [] if method.name not in ("assistant", "ensemble", "transfer_set") else [methods()["soft_labels"]()]
    contexts = [context(teacher, load=lambda name: other) for _ in range(2)]
    taught = usual(method).apply(fresh(student), contexts[1])
    for ctx in contexts:
        for learnt in learns:
            learnt.apply(student, ctx)
    alone, taught = finetuned(fresh(student), contexts[0]), finetuned(taught, contexts[1])
    assert not torch.equal(logits(alone), logits(taught))


@every_method
def test_an_unknown_family_is_refused_with_its_name(method):
    if not hasattr(inspect.getmodule(method), "anatomy") or method.name in ("assistant", "student"):
        pytest.skip("acts on any model that gives logits, or on the teacher")
    with pytest.raises(NotApplicable, match="the layout of a 'Linear' model is not known"):
        usual(method).apply(nn.Linear(2, 2), context(tiny()))


@every_family
@pytest.mark.parametrize(
    "names",
    [
        ("layers", "heads", "neurons", "low_rank", "soft_labels", "hidden_states", "finetune", "int8_dynamic"),
        ("low_rank", "neurons", "heads", "layers", "finetune", "int8_dynamic"),  # cutting factors
        ("finetune", "heads", "finetune", "neurons", "finetune"),
    ],
    ids="+".join,
)
def test_methods_work_together_and_reload(names, family, tmp_path):
    model = tiny(family)
    changed, ctx = fresh(model), context(model)
    for name in names:
        changed = methods()[name](**({"epochs": 1} if name == "finetune" else {})).apply(changed, ctx)
    storage.save(changed, tmp_path)
    loaded = storage.load(tmp_path)
    assert torch.equal(logits(loaded), logits(changed))
    assert storage.signature(loaded, ctx.precision) == storage.signature(changed, ctx.precision)
    assert set(ctx.precision) <= set(dict(loaded.named_modules()))
