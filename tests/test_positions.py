"""Patterns on families whose attentions add positions to scores: a dense mask's answers, stored, exported, refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import context, fresh, toy
from test_families import logits, model_of
from test_known_answers import around, drawn
from torch import Tensor

from autocompress.errors import NotApplicable
from autocompress.models import storage
from autocompress.models.attentions.block_sparse import BlockPattern
from autocompress.models.attentions.pattern import Pattern
from autocompress.models.attentions.sliding_window import WindowPattern
from autocompress.models.families.asking import by_distance
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.method import find
from autocompress.space.settings import Target
from autocompress.tasks.dataset import inputs

STACKS = {
    "mpnet": ["mpnet.encoder"], "t5": ["transformer.encoder", "transformer.decoder"], "deberta": ["deberta.encoder"],
    "deberta that projects positions apart": ["deberta.encoder"],
}  # fmt: skip
every_family = pytest.mark.parametrize("family", STACKS)
every_pattern = pytest.mark.parametrize(
    ("name", "knobs"),
    [
        ("sliding_window", {"window": 3, "first": 0}),
        ("sliding_window", {"window": 2, "first": 1}),
        ("block_sparse", {"block": 2, "first": 1, "drawn": 1}),
    ],
)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("pattern", [WindowPattern(3, 2), WindowPattern(1, 0), BlockPattern(4, 1, 2)])
def test_every_pair_that_is_read_gets_its_distance_and_no_other(pattern: Pattern, causal: bool) -> None:
    """Scores of 0: each query's weights are the softmax of what is added, over what it reads."""
    tokens, eye = 13, torch.eye(13)[None, None]
    nothing, added_HD = torch.zeros(1, 1, tokens, 4), drawn(1, 2 * tokens - 1)
    seen, zeros = torch.ones(1, tokens), by_distance(torch.zeros_like(added_HD))
    read = pattern(nothing, nothing, eye, seen, 1.0, causal, zeros)[0, 0] > 0
    i = torch.arange(tokens)
    expected = added_HD[0][i - i[:, None] + tokens - 1].masked_fill(~read, -torch.inf).softmax(-1)
    found = pattern(nothing, nothing, eye, seen, 1.0, causal, by_distance(added_HD))[0, 0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@every_family
@every_pattern
def test_layers_are_those_of_a_dense_mask(family: str, name: str, knobs: dict[str, Any]) -> None:
    """Transformers' own code with a mask of all pairs, its padding included."""
    model = model_of(family)
    changed = find(name)(**knobs).apply(fresh(model), context(model))
    x_BTD, seen_BT = drawn(2, 11, 32), torch.ones(2, 11)
    seen_BT[1, 8:] = 0
    for path in STACKS[family]:
        causal = path.endswith("decoder")
        allowed_BTT = read_by(name, knobs, causal) * seen_BT[:, None]
        stock = run(model.get_submodule(path), x_BTD, allowed_BTT)
        ours = run(changed.get_submodule(path), x_BTD, seen_BT)
        torch.testing.assert_close(ours[0], stock[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours[1, :8], stock[1, :8], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(ours[0], run(model.get_submodule(path), x_BTD, seen_BT)[0], atol=1e-3)


def read_by(name: str, knobs: dict[str, Any], causal: bool) -> Tensor:
    """(T, T), as the pattern's own known answers have it."""
    if name == "sliding_window":
        allowed = around(11, **knobs)
    else:
        n, reads = 6, torch.zeros(6, 6)
        for i in range(n):
            reads[i, [i, max(0, i - 1), min(n - 1, i + 1), 0, (i * 7 + 7) % n]] = 1
        reads[0] = 1
        allowed = reads.repeat_interleave(2, 0).repeat_interleave(2, 1)[:11, :11]
    return allowed.tril() if causal else allowed


@torch.no_grad()
def run(stack: Any, x_BTD: Tensor, seen: Tensor) -> Tensor:
    """A stack of layers on embeddings. `seen`: (B, T), or (B, T, T) of all pairs."""
    if hasattr(stack, "get_rel_pos"):  # DeBERTa's reads masks of both shapes
        found: Tensor = stack(x_BTD, seen).last_hidden_state
    elif hasattr(stack, "embed_tokens"):  # T5's too
        found = stack(
            inputs_embeds=x_BTD, attention_mask=seen if seen.ndim == 2 else seen[:, None].bool()
        ).last_hidden_state
    else:  # MPNet's model has made the mask that its attentions read
        seen = seen[:, None] if seen.ndim == 3 else seen[:, None, None]
        asks = any(isinstance(module, Pattern) for module in stack.modules())
        found = stack(x_BTD, seen.bool() if asks else (1 - seen) * -1e9, return_dict=True).last_hidden_state
    return found


@pytest.mark.slow
@pytest.mark.parametrize("family", ["mpnet", "t5", "deberta"])
@pytest.mark.parametrize(
    ("name", "knobs"), [("sliding_window", {"window": 2}), ("block_sparse", {"block": 2, "drawn": 1})]
)
def test_it_is_stored_and_exported_and_reads_longer_texts(
    family: str, name: str, knobs: dict[str, Any], tmp_path: Path
) -> None:
    model = model_of(family)
    changed = find(name)(**knobs).apply(fresh(model), context(model))
    storage.save(changed, tmp_path / "saved")
    loaded = storage.load(tmp_path / "saved")
    assert torch.equal(logits(loaded), logits(changed))
    runtime = find_runtime("onnxruntime")
    runtime.lower(loaded, PrecisionPlan(), toy(8).batch([0, 1]), tmp_path / "lowered")
    session = runtime.open(tmp_path / "lowered", Target())
    for texts, tokens in ((3, 1), (1, 2), (2, 7), (5, 29)):
        ids = torch.randint(3, 60, (texts, tokens), generator=torch.Generator().manual_seed(tokens))
        ids[:, -1] = 2  # the end, which T5 looks for
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.no_grad():
            np.testing.assert_allclose(session.run(batch), loaded(**inputs(batch)).logits, rtol=0, atol=2e-5)


@every_family
def test_heads_and_layers_are_cut_before_a_pattern_and_after_it(family: str) -> None:
    """The same ones, so that a window that covers all texts answers as without it."""
    model, answers = model_of(family), []
    for order in (("heads", "layers"), ("sliding_window", "heads", "layers"), ("heads", "layers", "sliding_window")):
        changed = fresh(model)
        for name in order:
            changed = find(name)(**({"keep": 0.5} if name in ("heads", "layers") else {})).apply(
                changed, context(model)
            )
        answers.append(logits(changed))
    torch.testing.assert_close(answers[1], answers[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(answers[2], answers[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["linear", "nystrom"])
@every_family
def test_what_scores_no_pairs_says_so(family: str, name: str) -> None:
    model = model_of(family)
    with pytest.raises(NotApplicable, match=f"{name} computes no pair's score to add it to"):
        find(name)().apply(model, context(model))
