"""Known answers for the grids that precisions round to and the ranges that are found for them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import context, tiny, toy
from onnx import TensorProto, helper
from torch import nn

from autocompress.methods.quantization.int8_static import smoothing
from autocompress.methods.quantization.weight_only import awq, gptq, output_error
from autocompress.models import simulation
from autocompress.models.calibration import entropy_bin, moments, observe, percentile_bin, ranges
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.models.simulation import round_weight, weight_scale
from autocompress.models.surgery import products
from autocompress.tasks.dataset import inputs

torch.manual_seed(0)
W_OI = torch.randn(24, 80)


@pytest.mark.parametrize(
    ("precision", "levels", "scales"),
    [
        (Precision("int8"), 255, (1, 1)),
        (Precision("int8", per_channel=True), 255, (24, 1)),
        (Precision("int8", group_size=32), 255, (24, 3)),
        (Precision("int4", group_size=32), 16, (24, 3)),
        (Precision("int4", group_size=128), 16, (24, 1)),
        (Precision("int4", per_channel=True), 16, (24, 1)),
    ],
)
def test_the_grid_has_no_more_levels_than_its_bits_say(precision, levels, scales):
    scale_OG = simulation.weight_scale(W_OI, precision)
    q_OI = simulation.codes(W_OI, scale_OG, precision)
    assert scale_OG.shape == scales
    assert len(q_OI.unique()) <= levels
    rounded_OI = simulation.round_weight(W_OI, precision)
    group = simulation.group_of(precision, 80)
    steps = scale_OG.abs().expand(24, scales[1]).repeat_interleave(group, 1)[:, :80]
    slack = 1.0 if precision.weight == "int4" else 0.5  # of -8 to 7: what would be 8 becomes 7
    assert ((rounded_OI - W_OI).abs() <= slack * steps + 1e-6).all()
    assert torch.equal(simulation.round_weight(rounded_OI, precision, scale_OG), rounded_OI), "a grid point stays"


@pytest.mark.parametrize("weight", ["int8", "int4"])
def test_a_layer_of_zeros_stays_zero(weight):
    assert not simulation.round_weight(torch.zeros(3, 5), Precision(weight, per_channel=True)).any()


@pytest.mark.parametrize(("weight", "bits"), [("float16", 11), ("bfloat16", 8)])
def test_half_keeps_that_many_bits(weight, bits):
    rounded = simulation.round_weight(W_OI, Precision(weight))
    assert ((rounded - W_OI) / W_OI).abs().max() <= 2.0**-bits
    assert ((rounded - W_OI) / W_OI).abs().max() > 2.0 ** -(bits + 1)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.5, 3.0), (-2.0, -1.0), (0.0, 0.0)])
def test_inputs_are_rounded_as_onnx_does(low, high):
    x = torch.linspace(low, high, 50)
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [50])]
    outs = [helper.make_tensor_value_info(n, t, None) for n, t in (("q", 2), ("s", 1), ("z", 2))]
    graph = helper.make_graph([node], "g", values, outs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    q, s, z = onnxruntime.InferenceSession(onnx.ModelProto.SerializeToString(model)).run(None, {"x": x.numpy()})
    scale, zero = simulation.input_grid(x.amin(), x.amax())
    np.testing.assert_allclose(simulation.round_input(x, scale, zero), (q.astype(int) - z) * s, atol=1e-6)


# ---- calibration


def test_what_is_observed_is_what_goes_in_without_padding():
    model, batches = tiny(), list(toy(8).batches(4))
    path = "bert.encoder.layer.1.attention.self.key"
    seen = observe(model, products(model), batches)
    rows = []
    with torch.no_grad():
        for batch in batches:
            assert not batch["attention_mask"].all()
            states = model(**inputs(batch), output_hidden_states=True).hidden_states[1]
            rows.append(states[batch["attention_mask"].bool()])
    x_NI = torch.cat(rows)
    torch.testing.assert_close(seen[path].low_I, x_NI.amin(0))
    torch.testing.assert_close(seen[path].high_I, x_NI.amax(0))
    assert seen[path].source == seen[path.replace("key", "query")].source
    assert len({one.source for one in seen.values()}) == 4 * 4 + 2, "four tensors a layer, pooler and classifier"


def test_smoothing_leaves_the_float_function_unchanged_and_evens_out_the_inputs():
    layer = nn.Linear(6, 4)
    x = torch.randn(50, 6) * torch.tensor([1, 1, 1, 1, 1, 100.0])
    model = Tower(layer)
    seen = observe(model, ["layer"], [{"x": x}])
    smooth_I = smoothing({"layer": layer}, seen, 0.5)["layer"]
    expected = x.abs().amax(0).sqrt() / layer.weight.abs().amax(0).sqrt()
    torch.testing.assert_close(smooth_I, expected)
    torch.testing.assert_close(
        (x / smooth_I) @ (layer.weight * smooth_I).T + layer.bias, layer(x), rtol=1e-4, atol=1e-4
    )

    def error(smooth: dict[str, torch.Tensor]) -> float:
        [(low, high)] = ranges("minmax", model, seen, [{"x": x}], smooth).values()
        scale, zero = simulation.input_grid(low, high)
        plan = PrecisionPlan()
        scales = {"layer.input_scale": scale, "layer.input_zero_point": zero}
        scales |= {f"{path}.input_smooth": s for path, s in smooth.items()}
        plan.add(["layer"], Precision("int8", "static_int8", per_channel=True), scales)
        return (simulation.simulate(model, plan)(x).logits - layer(x)).square().mean().item()

    assert error({"layer": smooth_I}) < 0.5 * error({})


def test_ranges_cut_outliers():
    x = torch.randn(5000, 4)
    x[0, 0] = 1000.0
    model = Tower(nn.Linear(4, 2))
    seen = observe(model, ["layer"], [{"x": x}])
    found = {o: ranges(o, model, seen, [{"x": x}], {})["layer"] for o in ("minmax", "percentile", "entropy")}
    assert found["minmax"][1] == 1000
    assert found["minmax"][0] == x.min()
    assert found["percentile"][1] < 10
    assert found["entropy"][1] < 100


def test_percentile_by_hand():
    counts_N = torch.zeros(2048)
    counts_N[:10] = 1e6
    counts_N[2000] = 10.0
    assert percentile_bin(counts_N) == 10


def test_entropy_keeps_all_where_every_bin_is_as_full():
    assert entropy_bin(torch.ones(2048)) == 2048


@pytest.mark.parametrize("bits", ["int4", "int8"])
def test_gptq_and_awq_have_less_error_than_rounding_to_nearest(bits):
    """On inputs that are alike, as a layer's are, and some of which are larger than the others."""
    precision, x_NI = Precision(bits, group_size=32), torch.randn(500, 20) @ torch.randn(20, 80)
    x_NI += 0.1 * torch.randn(500, 80)
    x_NI[:, ::10] *= 10
    layer = nn.Linear(80, 24, bias=False)
    seen = moments(Tower(layer), observe(Tower(layer), ["layer"], [{"x": x_NI}]), [{"x": x_NI}])["layer"]
    W_OI = layer.weight.detach()
    rtn, gptq_OI, s_I = round_weight(W_OI, precision), gptq(W_OI, seen, precision), awq(W_OI, seen, precision)
    awq_OI = round_weight(W_OI * s_I, precision) / s_I
    errors = [((W_OI - Q_OI) @ x_NI.T).square().sum().item() for Q_OI in (rtn, gptq_OI, awq_OI)]
    assert errors[1] < 0.7 * errors[0]
    assert errors[2] < 0.7 * errors[0]
    assert output_error(W_OI, rtn, seen) == pytest.approx(errors[0], rel=1e-3)
    torch.testing.assert_close(round_weight(gptq_OI, precision, weight_scale(W_OI, precision)), gptq_OI)


def test_gptq_rounds_to_nearest_where_inputs_are_unrelated():
    layer, x_NI = nn.Linear(40, 8, bias=False), torch.eye(40)
    seen = moments(Tower(layer), observe(Tower(layer), ["layer"], [{"x": x_NI}]), [{"x": x_NI}])["layer"]
    precision = Precision("int4", group_size=32)
    expected = round_weight(layer.weight.detach(), precision)
    torch.testing.assert_close(gptq(layer.weight.detach(), seen, precision), expected)


class Tower(nn.Module):
    """One layer that gives logits."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor, output_hidden_states: bool = False):
        from types import SimpleNamespace

        return SimpleNamespace(logits=self.layer(x))


# ---- the plan


def test_a_plan_survives_saving_with_its_scales(tmp_path):
    plan, ctx = PrecisionPlan(), context(tiny())
    plan.add(["a.b", "a.b.c"], Precision("int8", "static_int8"), {"a.b.input_scale": torch.tensor(0.5)})
    plan.save(tmp_path)
    loaded = PrecisionPlan.load(tmp_path)
    assert loaded == plan
    assert loaded.dump() == plan.dump()
    assert loaded.scale("a.b", "input_scale") == 0.5
    assert loaded.scale("a.b.c", "input_scale") is None
    ctx.precision.save(tmp_path / "..")
    assert PrecisionPlan.load(tmp_path / "..") == {}
