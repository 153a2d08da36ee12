"""Dropout of our own is torch's dropout, drawn faster."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.models.dropout import QuickDropout, attention


def test_it_drops_the_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    ones = torch.ones(400, 501, requires_grad=True)
    with QuickDropout():
        found = nn.Dropout(0.1)(ones)
        assert torch.equal(nn.Dropout(0.1).eval()(ones), ones), "nothing is dropped but in training"
        assert torch.equal(F.dropout(ones, 0.0), ones)
        assert not F.dropout(ones, 1.0).any()
    dropped = found == 0
    assert dropped.float().mean().item() == pytest.approx(0.1, abs=0.003)
    assert dropped.float().mean(0).std() < 0.02, "no column is dropped more than others"
    assert found[~dropped].unique().item() == pytest.approx(1 / 0.9, rel=1e-4)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert ones.grad is not None
    assert torch.equal(ones.grad, found.detach()), "the gradient goes the same way"


def test_it_follows_torchs_seed() -> None:
    def drawn() -> Tensor:
        with QuickDropout():
            return F.dropout(torch.ones(33))

    torch.manual_seed(1)
    first, state, second = drawn(), torch.get_rng_state(), drawn()
    torch.set_rng_state(state)
    assert torch.equal(drawn(), second)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_attention_is_torchs_on_the_average(mask: str | None, causal: bool) -> None:
    """With a share so small that next to nothing is dropped it is torch's; with a larger one its mean is."""
    if causal and mask:
        return  # torch takes one of them
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 5, 8).unbind(0)
    read = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()[:, None, None, :].expand(2, 1, 5, 5)
    given = {None: None, "bool": read, "float": torch.where(read, 0.0, -torch.inf)}[mask]
    plain = F.scaled_dot_product_attention(q, k, v, given, is_causal=causal, scale=0.3)
    with QuickDropout():
        rare = F.scaled_dot_product_attention(q, k, v, given, 1e-9, causal, scale=0.3)
        often = [F.scaled_dot_product_attention(q, k, v, given, 0.2, causal, scale=0.3) for _ in range(3000)]
    assert torch.allclose(rare, plain, atol=1e-3)
    assert torch.allclose(torch.stack(often).mean(0), plain, atol=0.08)
    assert not torch.allclose(often[0], plain, atol=0.08)


def test_a_row_that_reads_nothing_is_zero() -> None:
    q = torch.randn(1, 1, 2, 4)
    with QuickDropout():
        found = F.scaled_dot_product_attention(q, q, q, torch.tensor([[False, False], [True, True]]), 0.1)
    assert not found[0, 0, 0].any()
    assert found[0, 0, 1].any()


@pytest.mark.parametrize("at_once", [1, 80, 10_000], ids=["a head", "some heads", "all"])
@pytest.mark.parametrize("fewer_bits", [False, True])
@pytest.mark.parametrize("mask", [None, "causal", "bool", "float", "of pairs", "of heads"])
def test_long_texts_keep_no_score_and_get_the_same(
    mask: str | None, fewer_bits: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    texts = torch.randn(3, 3, 4, 6, 8)  # a head has as many scores as whole draws have bits for
    read = (torch.arange(6) < torch.tensor([[6], [3], [4]]))[:, None, None, :].expand(3, 1, 6, 6)
    given = {
        "bool": read, "float": torch.where(read, 0.0, -torch.inf), "of pairs": torch.ones(6, 6).tril().bool(),
        "of heads": torch.randn(1, 4, 6, 6),
    }.get(mask or "")  # fmt: skip
    found, states = [], []
    for many in (2**24, 0):
        monkeypatch.setattr(attention, "_MANY", many)
        monkeypatch.setattr(attention, "_AT_ONCE", at_once)
        asked = texts.clone().requires_grad_()
        torch.manual_seed(1)
        with QuickDropout(), torch.autocast("cpu", enabled=fewer_bits):
            out = F.scaled_dot_product_attention(*asked.unbind(0), given, 0.3, mask == "causal")
        states.append(torch.get_rng_state())
        (out.float() ** 2).sum().backward()  # type: ignore[no-untyped-call]
        assert asked.grad is not None
        found.append((out.float().detach(), asked.grad))
        states.append(torch.get_rng_state())
    assert all(torch.equal(state, states[0]) for state in states)
    for plain, forgetful in zip(*found, strict=True):
        assert torch.allclose(plain, forgetful, atol=0.1 if fewer_bits else 1e-5)
        assert plain.any()


def test_positions_that_are_learnt_get_their_gradient_from_long_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_MANY", 0)
    q, added = torch.randn(1, 2, 4, 8), torch.zeros(1, 2, 4, 4, requires_grad=True)
    with QuickDropout():
        F.scaled_dot_product_attention(q, q, q, added, 0.1).sum().backward()  # type: ignore[no-untyped-call]
    assert added.grad is not None
    assert added.grad.any()
