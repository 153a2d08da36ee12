"""What a forward pass tells besides the logits, worked out another way from the model's own weights."""

from __future__ import annotations

import pytest
import torch
from conftest import context, fresh, tiny, toy
from test_families import model_of
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.models.forward import Outputs, forward
from autocompress.space.method import find
from autocompress.tasks.dataset import inputs

BATCH = toy(8).batch(list(range(8)))
ALL = frozenset({"logits", "hidden_states", "attentions", "q", "k", "v"})


def told(model: nn.Module, needs: frozenset[str] = ALL) -> Outputs:
    with torch.no_grad():
        return forward(model, BATCH, needs)


def probabilities(q_BTO: Tensor, k_BTO: Tensor, allowed_BTT: Tensor) -> Tensor:
    """(B, H, T, T): softmax of q k / sqrt(8) in 4 heads of 8 over the tokens that may be looked at."""
    q_BHTK, k_BHTK = (x.unflatten(-1, (4, 8)).transpose(1, 2) for x in (q_BTO, k_BTO))
    scores_BHTT = q_BHTK @ k_BHTK.transpose(-1, -2) / 8**0.5
    return scores_BHTT.masked_fill(~allowed_BTT[:, None], float("-inf")).softmax(-1)


def test_bert_tells_what_its_layers_project_and_attend_to() -> None:
    model = tiny()
    out = told(model)
    assert [len(found) for found in (out.hidden_states, out.attentions, out.q, out.k, out.v)] == [5, 4, 4, 4, 4]
    allowed_BTT = BATCH["attention_mask"].bool()[:, None].expand(-1, BATCH["input_ids"].shape[1], -1)
    for i, layer in enumerate(model.bert.encoder.layer):
        own, h_BTD = layer.attention.self, out.hidden_states[i]
        for found, linear in ((out.q, own.query), (out.k, own.key), (out.v, own.value)):
            torch.testing.assert_close(found[i], h_BTD @ linear.weight.T + linear.bias)
        torch.testing.assert_close(out.attentions[i], probabilities(out.q[i], out.k[i], allowed_BTT))


def test_gpt2_tells_each_part_of_its_fused_projection() -> None:
    model = model_of("gpt2")
    out = told(model)
    causal_TT = torch.ones(2 * [BATCH["input_ids"].shape[1]]).tril().bool()
    allowed_BTT = causal_TT & BATCH["attention_mask"].bool()[:, None]
    real_BT = BATCH["attention_mask"].bool()
    for i, block in enumerate(model.transformer.h):
        fused = block.ln_1(out.hidden_states[i]) @ block.attn.c_attn.weight + block.attn.c_attn.bias
        for found, at in ((out.q, 0), (out.k, 32), (out.v, 64)):
            torch.testing.assert_close(found[i], fused[..., at : at + 32])
        expected_BHTT = probabilities(out.q[i], out.k[i], allowed_BTT)
        for found, expected in zip(out.attentions[i], expected_BHTT, strict=True):
            assert found.shape == expected.shape
        got = out.attentions[i].transpose(1, 2)[real_BT]
        torch.testing.assert_close(got, expected_BHTT.transpose(1, 2)[real_BT], rtol=1e-4, atol=1e-5)


def test_asking_changes_nothing_in_the_model_and_the_unasked_is_not_told() -> None:
    model = tiny()
    before = model.config._attn_implementation
    out, plain = told(model), told(model, frozenset({"logits"}))
    torch.testing.assert_close(out.logits, plain.logits)
    assert (plain.hidden_states, plain.attentions, plain.q, plain.k, plain.v) == (None,) * 5
    assert before == model.config._attn_implementation == "sdpa"
    assert not any(m._forward_hooks for m in model.modules() if isinstance(m, nn.Linear))
    with torch.no_grad():
        assert torch.equal(model(**inputs(BATCH)).logits, plain.logits)


def test_what_is_told_can_be_learnt_from() -> None:
    out = forward(tiny(), BATCH, ALL)
    assert all(found[-1].requires_grad for found in (out.attentions, out.q, out.k, out.v))


@pytest.mark.parametrize("name", ["low_rank", "heads"])
def test_what_was_cut_or_factored_still_tells(name: str) -> None:
    for model in (tiny(), model_of("gpt2")):
        changed = find(name)().apply(fresh(model), context(model))
        out, width = told(changed), 16 if name == "heads" else 32
        assert {x.shape[-1] for x in (*out.q, *out.k, *out.v)} == {width}
        assert out.attentions[0].shape[1] == width // 8


def test_layers_that_are_one_module_tell_every_time_that_it_runs() -> None:
    out = told(model_of("albert"))
    assert [len(found) for found in (out.attentions, out.q, out.k, out.v)] == [4, 4, 4, 4]
    assert not torch.equal(out.q[0], out.q[1])


def test_a_model_that_has_none_says_so() -> None:
    for family, sentence in {
        "lstm": "a LstmForSequenceClassification does not tell of its attentions",
        "t5": "a T5ForSequenceClassification does not tell of its attentions",
    }.items():
        with pytest.raises(NotApplicable, match=f"^{sentence}$"):
            told(model_of(family), frozenset({"logits", "attentions"}))
    with pytest.raises(NotApplicable, match=r"^a 'autocompress_lstm' model has no attention heads$"):
        told(model_of("lstm"), frozenset({"logits", "q"}))
