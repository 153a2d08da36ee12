"""What quantization-aware training learns is what ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import FAMILIES, context, exact_int8, fresh, tiny, toy
from torch import nn
from torch.nn.utils import parametrize

from autocompress.errors import NotApplicable
from autocompress.methods.quantization.qat import Rounded, RoundedInput, straight_through
from autocompress.models.precision_plan import Precision
from autocompress.models.simulation import input_grid, round_input, round_weight, simulate, weight_scale
from autocompress.models.surgery import products
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.method import find
from autocompress.space.settings import Target
from autocompress.tasks.dataset import inputs

ONNX = find_runtime("onnxruntime")
INT8 = Precision("int8", "static_int8", per_channel=True)


def logits(model: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([model(**inputs(batch)).logits.numpy() for batch in toy(96).batches(1)])


def test_while_training_it_computes_what_the_simulation_computes() -> None:
    model, ctx = tiny(), context(tiny())
    training, plan = find("qat")(embeddings=False).apply(fresh(model), ctx), ctx.precision
    np.testing.assert_allclose(logits(training), logits(simulate(model, plan)), atol=1e-4)


def test_the_gradient_of_a_scale_is_lsq_s() -> None:
    x, zero = torch.tensor([-9.0, -0.26, 0.1, 0.49, 80.0]), torch.tensor(4.0)
    grid = RoundedInput(torch.tensor(0.25), zero)
    grid(x).sum().backward()
    codes = (x / 0.25).clamp(-4, 251)
    inside = (x / 0.25 >= -4) & (x / 0.25 <= 251)
    by_hand = torch.where(inside, codes.round() - x / 0.25, codes).sum()
    assert grid.log_scale.grad.item() == pytest.approx(0.25 * by_hand.item(), rel=1e-5)
    assert torch.equal(grid(x).detach(), round_input(x, torch.tensor(0.25), zero))


def test_rounding_passes_gradients_on_inside_and_none_outside() -> None:
    x = torch.tensor([-3.0, 0.4, 3.0], requires_grad=True)
    straight_through(x, -2, 2).sum().backward()
    assert x.grad.tolist() == [0, 1, 0]


@pytest.mark.parametrize("transposed", [False, True])
def test_a_layer_is_left_on_its_grid(transposed: bool) -> None:
    from transformers.pytorch_utils import Conv1D

    layer: nn.Module = Conv1D(24, 80) if transposed else nn.Linear(80, 24)
    W_OI = layer.weight.detach().clone().T if transposed else layer.weight.detach().clone()
    keys = list(layer.state_dict())
    rounded = Rounded(layer, INT8, input_grid(torch.tensor(-1.0), torch.tensor(2.0)))
    assert parametrize.is_parametrized(layer)
    rounded.remove()
    assert sorted(layer.state_dict()) == sorted(keys)
    assert not layer._forward_pre_hooks
    after = layer.weight.detach().T if transposed else layer.weight.detach()
    torch.testing.assert_close(after, round_weight(W_OI, INT8))
    assert isinstance(layer.weight, nn.Parameter)


@exact_int8
@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_learnt_is_what_ships(family: str, tmp_path: Path) -> None:
    model, ctx = tiny(family), context(tiny(family))
    changed = find("qat")().apply(fresh(model), ctx)
    start = {name: scale.clone() for name, scale in ctx.precision.scales.items()}
    changed = find("finetune")(epochs=2, lr=1e-3).apply(changed, ctx)
    assert not any(parametrize.is_parametrized(m) for m in changed.modules())
    learnt = [name for name, scale in ctx.precision.scales.items() if not torch.equal(scale, start[name])]
    assert len([name for name in learnt if name.endswith("weight_scale")]) == len(products(model))
    ONNX.lower(changed, ctx.precision, toy().batch([0]), tmp_path)
    counts = [node.op_type for node in onnx.load(ONNX.artefact(tmp_path)).graph.node]
    assert counts.count("MatMulIntegerToFloat") == len(products(model))
    assert "DynamicQuantizeLinear" not in counts
    session = ONNX.open(tmp_path, Target())
    ran = np.concatenate([session.run(batch) for batch in toy(96).batches(1)])
    expected = logits(simulate(changed, ctx.precision))
    assert (ran.argmax(1) == expected.argmax(1)).mean() >= 0.99
    assert np.abs(ran - expected).max() <= 0.03 * np.ptp(expected)


def test_the_weights_that_ship_are_on_the_learnt_grid() -> None:
    ctx = context(tiny())
    changed = find("finetune")(epochs=1, lr=1e-3).apply(find("qat")().apply(tiny(), ctx), ctx)
    for path, layer in products(changed).items():
        scale = ctx.precision.scale(path, "weight_scale")
        codes = layer.weight.detach() / scale
        torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-3)
        assert not torch.allclose(scale, weight_scale(tiny().get_submodule(path).weight.detach(), INT8), rtol=1e-5)


def test_with_another_precision_for_the_same_layers_it_is_refused() -> None:
    ctx = context(tiny())
    model = find("qat")().apply(tiny(), ctx)
    for other in ("int8_dynamic", "int8_static"):
        with pytest.raises(NotApplicable, match="two "):
            find(other)(smooth=0.0).apply(model, ctx) if other == "int8_static" else find(other)().apply(model, ctx)
