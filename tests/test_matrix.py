"""Every method on every family: it acts, or says why it has no meaning there. Kept in docs/matrix.md."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import pytest
import torch
from conftest import FAMILIES, context, tiny, toy, usual
from test_families import MODELS, model_of
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.models import storage
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.space.method import Method, find, methods
from autocompress.tasks.dataset import inputs

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parent.parent / "docs" / "matrix.md"
MODELS_BY_NAME = {name: functools.partial(tiny, name) for name in FAMILIES} | {
    name: functools.partial(model_of, name) for name in MODELS
}
LEAST = {"mixed_precision"}  # whose rehearsal has the least bytes that the real run can have, as its card says
OUTCOMES: dict[tuple[str, str], str] = {}  # (family, method) -> nothing, or why not


def logits(model: nn.Module, texts: int = 8) -> Tensor:
    with torch.no_grad():
        return torch.cat([model(**inputs(batch)).logits for batch in toy(texts).batches(4)])


def outcome(family: str, name: str, folder: Path) -> str:
    """Nothing if it acts, finite answers, gradients and a reload included; else its reason."""
    model = MODELS_BY_NAME[family]()
    ctx, method = context(model), usual(find(name))
    try:
        changed = method.apply(copy.deepcopy(model), ctx)
        if method.waits:
            changed = find("finetune")(epochs=1, lr=1e-3).apply(changed, ctx)
    except NotApplicable as error:
        return str(error)
    after = logits(changed)
    assert after.isfinite().all()
    alike = storage.signature(changed, ctx.precision) == storage.signature(model, PrecisionPlan())
    assert not alike or not torch.equal(after, logits(model)), "changed nothing: raise NotApplicable"
    assert method.values_only == alike or method.pending
    assert method.estimated or name in LEAST or rehearsed(model, method) == storage.signature(changed, ctx.precision)
    storage.save(changed, folder)
    loaded = storage.load(folder)
    assert torch.equal(logits(loaded), after)
    assert storage.signature(loaded, ctx.precision) == storage.signature(changed, ctx.precision)
    if method.stage != "lower":
        assert_learns(loaded)
    return ""


def rehearsed(model: nn.Module, method: Method) -> str:
    """The signature of what a rehearsal makes of it."""
    ctx = context(model, train=False)
    changed = method.apply(copy.deepcopy(model), ctx)
    if method.waits:
        changed = find("finetune")(epochs=1, lr=1e-3).apply(changed, ctx)
    return storage.signature(changed, ctx.precision)


def assert_learns(model: nn.Module) -> None:
    """A gradient comes to every matrix that answers depend on."""
    model.train()
    batch = toy(8).batch(list(range(8)))
    out = model(**inputs(batch)).logits
    out.square().sum().backward()
    reached = [p for p in model.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert len(reached) > 1
    assert all(p.grad.isfinite().all() for p in reached)


@pytest.mark.parametrize("family", MODELS_BY_NAME)
def test_every_method_acts_on_a_family_or_says_why_not(family: str, tmp_path: Path) -> None:
    wrong = {}
    for name in methods():
        try:
            OUTCOMES[family, name] = outcome(family, name, tmp_path / name)
        except Exception as error:  # all of them are told at once
            wrong[name] = f"{type(error).__name__}: {error}"
    assert not wrong


def test_the_matrix_in_the_docs_is_this_one() -> None:
    if len(OUTCOMES) < len(MODELS_BY_NAME) * len(methods()):
        pytest.skip("needs the outcomes of all families")
    text = written()
    if not DOCS.exists() or DOCS.read_text() != text:
        DOCS.write_text(text)
        pytest.fail("docs/matrix.md was out of date and is written anew: read it, and commit it")


def written() -> str:
    """The table, and every reason once."""
    families = list(MODELS_BY_NAME)
    in_order = (OUTCOMES[family, name] for name in methods() for family in families)
    reasons = list(dict.fromkeys(reason for reason in in_order if reason))
    lines = [
        "# Methods and model families", "",
        "Written by `tests/test_matrix.py`, on tiny models of each family. A dot: the method acts, its result answers",
        "with finite numbers, learns, and is loaded again with equal answers. A number: why it has no meaning there.",
        "",
        "| | " + " | ".join(families) + " |", "|---|" + "---|" * len(families),
    ]  # fmt: skip
    for name in methods():
        cells = [OUTCOMES[family, name] for family in families]
        lines.append(f"| `{name}` | " + " | ".join(f"{reasons.index(c) + 1}" if c else "·" for c in cells) + " |")
    lines += ["", *(f"{i}. {reason}" for i, reason in enumerate(reasons, 1)), ""]
    return "\n".join(lines)
