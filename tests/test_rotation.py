"""The middle of a low-rank pair before it is rounded: the same product, and no outliers."""

from __future__ import annotations

import pytest
import torch
from conftest import context, fresh, tiny
from torch import Tensor, nn

from autocompress.models.factored.linears import LowRankLinear
from autocompress.models.precision_plan import Precision
from autocompress.models.rotation import orthogonal, spread_pairs
from autocompress.models.simulation import round_groups, round_weight
from autocompress.space.method import find

RANK, WIDTH, INT8 = 24, 64, Precision("int8", per_channel=True)


def pair(*, outlier: float = 1.0, balance: float = 1.0, dead: bool = False) -> LowRankLinear:
    """With a direction that is `outlier` times as large, and all of them moved from one factor to the other."""
    torch.manual_seed(0)
    made = LowRankLinear(WIDTH, WIDTH, RANK)
    with torch.no_grad():
        made.down.weight[3] *= outlier
        made.down.weight *= balance
        made.up.weight /= balance
        if dead:
            made.down.weight[5], made.up.weight[:, 5] = 0, 0
    return made


def rounding_error(made: LowRankLinear, x: Tensor) -> float:
    """Of the outputs, with both factors and the middle in 8 bits."""
    up, down = (round_weight(factor.weight, INT8) for factor in (made.up, made.down))
    return float((round_groups(x @ down.T, RANK) @ up.T + made.up.bias - made(x)).norm())


def peak(norms_R: Tensor) -> float:
    """How much larger the largest is than their root mean square: up to √R."""
    return float(norms_R.max() / norms_R.square().mean().sqrt())


def test_an_orthogonal_matrix_is_one_and_always_the_same() -> None:
    Q_RR = orthogonal(RANK)
    torch.testing.assert_close(Q_RR @ Q_RR.T, torch.eye(RANK, dtype=Q_RR.dtype))
    orthogonal.cache_clear()
    assert torch.equal(orthogonal(RANK), Q_RR)


@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("balance", [1.0, 1e4])
def test_a_pair_computes_what_it_did(balance: float, dead: bool) -> None:
    model, x = nn.Sequential(pair(balance=balance, dead=dead)), torch.randn(5, WIDTH)
    before = model(x)
    spread_pairs(model)
    torch.testing.assert_close(model(x), before, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_both_factors_have_one_norm_and_no_direction_stands_out() -> None:
    made = pair(outlier=100.0, balance=10.0)
    assert peak(made.down.weight.norm(dim=1)) > 4
    spread_pairs(nn.Sequential(made))
    down_R, up_R = made.down.weight.norm(dim=1), made.up.weight.norm(dim=0)
    torch.testing.assert_close(down_R.norm(), up_R.norm())
    assert max(peak(down_R), peak(up_R)) < 3


@torch.no_grad()
def test_rounding_loses_less() -> None:
    made, x = pair(outlier=100.0), torch.randn(200, WIDTH)
    before = rounding_error(made, x)
    spread_pairs(nn.Sequential(made))
    assert rounding_error(made, x) < 0.8 * before


STEPS = {"int8_dynamic": {}, "int8_static": {}, "mixed_precision": {}, "qat": {}, "weight_only": {"algorithm": "rtn"}}


@pytest.mark.parametrize(("name", "knobs"), STEPS.items())
def test_whatever_rounds_products_spreads_pairs_first(name: str, knobs: dict) -> None:
    model = find("low_rank")().apply(fresh(tiny()), context(tiny()))
    before = {path: m.down.weight.clone() for path, m in model.named_modules() if isinstance(m, LowRankLinear)}
    changed = find(name)(**knobs).apply(fresh(model), context(tiny()))
    assert not any(torch.equal(changed.get_submodule(path).down.weight, V_RI) for path, V_RI in before.items())
