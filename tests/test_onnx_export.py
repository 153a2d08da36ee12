"""The exported graph computes what torch computes, and the session finds what it has fused kernels for."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from conftest import context, every_family, tiny, toy
from torch.nn import functional as F

from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes.onnx.export import _PlainAttention, attention
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.method import find

ONNX = find_runtime("onnxruntime")
torch.manual_seed(0)
Q, K, V = (torch.randn(2, heads, 5, 8) for heads in (4, 4, 4))
MASK = torch.rand(2, 1, 5, 5) > 0.3
MASK[..., 0] = True


@pytest.mark.parametrize(
    "options",
    [{}, {"scale": 0.5}, {"is_causal": True}, {"attn_mask": MASK}, {"attn_mask": torch.randn(2, 4, 5, 5)}],
    ids=["plain", "scale", "causal", "mask", "bias"],
)
def test_attention_is_torch_s_own(options: dict) -> None:
    torch.testing.assert_close(attention(Q, K, V, **options), F.scaled_dot_product_attention(Q, K, V, **options))


def test_attention_with_grouped_queries_is_torch_s_own() -> None:
    k, v = K[:, :2], V[:, :2]
    expected = F.scaled_dot_product_attention(Q, k, v, enable_gqa=True)
    torch.testing.assert_close(attention(Q, k, v, enable_gqa=True), expected)


def test_a_row_that_sees_no_token_is_no_nan() -> None:
    assert attention(Q, K, V, attn_mask=torch.zeros(5, 5, dtype=torch.bool)).isfinite().all()


def test_tracing_leaves_the_attention_of_other_threads_alone() -> None:
    def blind() -> bool:
        return bool(F.scaled_dot_product_attention(Q, K, V, torch.zeros(5, 5, dtype=torch.bool)).isnan().any())

    def elsewhere() -> bool:
        with ThreadPoolExecutor() as threads:
            return threads.submit(blind).result()

    before = blind()
    with _PlainAttention():
        assert not blind()
        assert F.scaled_dot_product_attention is torch._C._nn.scaled_dot_product_attention
        assert elsewhere() is before
    assert blind() is before


def optimised(folder: Path) -> Counter[str]:
    """The operators of the graph that the session runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(ONNX.artefact(folder), options)
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


@every_family
@pytest.mark.parametrize("steps", [(), ("layers", "heads", "neurons"), ("low_rank",), ("heads", "low_rank", "neurons")])
def test_the_session_fuses_after_pruning_too(steps: tuple[str, ...], family: str, tmp_path: Path) -> None:
    """GELU with its bias, layer norm as one node, attention scores with their scale: once a layer each, or twice."""
    model = tiny(family)
    ctx = context(model)
    for name in steps:
        model = find(name)().apply(model, ctx)
    ONNX.lower(model, PrecisionPlan(), toy().batch([0]), tmp_path)
    layers, counts = 2 if "layers" in steps else 4, optimised(tmp_path)
    assert counts["BiasGelu"] == layers
    assert counts["LayerNormalization"] + counts["SkipLayerNormalization"] == 2 * layers + 1
    assert counts["FusedMatMul"] == layers
    assert counts["Erf"] == counts["IsNaN"] == 0


def test_the_session_fuses_after_quantization_too(tmp_path: Path) -> None:
    ctx = context(tiny())
    find("int8_dynamic")().apply(tiny(), ctx)
    ONNX.lower(tiny(), ctx.precision, toy().batch([0]), tmp_path)
    counts = optimised(tmp_path)
    assert counts["DynamicQuantizeMatMul"] + counts["MatMulIntegerToFloat"] == 26
    assert (counts["BiasGelu"], counts["LayerNormalization"], counts["FusedMatMul"]) == (4, 9, 4)
