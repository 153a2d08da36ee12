"""The inputs of products in an ONNX graph, as 8-bit codes: rounded once for all products that read them alike.

New tensors are named after the product that first reads them: to round is its work, not that of who wrote the input.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnx import NodeProto
from torch import Tensor

from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes.onnx.graph import Graph


class RoundedTensor(NamedTuple):
    """Names of tensors: input = scale · (code - zero), times `token` where each token has a range of its own."""

    code: str
    scale: str
    zero: str
    token: str = ""


def rounded(graph: Graph, node: NodeProto, path: str, plan: PrecisionPlan) -> RoundedTensor:
    """The input of a product, on the grid that the plan gives, or on that of its own range."""
    x, scale, zero = node.input[0], plan.scale(path, "input_scale"), plan.scale(path, "input_zero_point")
    x = smoothed(graph, node, plan.scale(path, "input_smooth"))
    if scale is not None and zero is not None:
        key = ("static", x, scale.item(), zero.item())
        return RoundedTensor(*graph.once(key, lambda: _on_grid(graph, x, node.name, scale, zero)))
    make = _by_token if plan[path].per_token else _by_batch
    return RoundedTensor(*graph.once((make, x), lambda: make(graph, x, node.name)))


def smoothed(graph: Graph, node: NodeProto, smooth_I: Tensor | None) -> str:
    """The product's input / smooth, once for all that read it smoothed alike."""
    x: str = node.input[0]
    if smooth_I is None:
        return x
    factor = graph.weight(f"{x}_factor", (1 / smooth_I).numpy())

    def divided() -> tuple[str, ...]:
        graph.add("Mul", [x, factor], [f"{node.name}_smoothed"], f"{node.name}_smooth")
        return (f"{node.name}_smoothed",)

    return graph.once(("smoothed", x, factor), divided)[0]


def _on_grid(graph: Graph, x: str, name: str, scale: Tensor, zero: Tensor) -> tuple[str, ...]:
    grid = graph.weight("grid_scale", scale.float().numpy()), graph.weight("grid_zero", zero.byte().numpy())
    graph.add("QuantizeLinear", [x, *grid], [f"{name}_code"], f"{name}_QuantizeLinear")
    return f"{name}_code", *grid


def _by_batch(graph: Graph, x: str, name: str) -> tuple[str, ...]:
    names = tuple(f"{name}_{part}" for part in ("code", "scale", "zero"))
    graph.add("DynamicQuantizeLinear", [x], list(names), f"{name}_DynamicQuantizeLinear")
    return names


def _by_token(graph: Graph, x: str, name: str) -> tuple[str, ...]:
    """Every token is brought to [-1, 1], where one grid serves all: there is no kernel for a scale a row.

    A token of zeros gets arbitrary codes, which times its largest number are zeros again. What x was scaled with falls
    out here, so the tensor before that is read. A division of every number takes up to 4 % more of a pair's time.
    """
    size, largest, inverse, unit, code, token = (
        f"{name}_{part}" for part in ("size", "largest", "inverse", "unit", "code", "token")
    )
    x, factor = graph.scaled.get(x, (x, ""))
    graph.add("Abs", [x], [size], f"{name}_Abs")
    graph.add("ReduceMax", [size], [largest], f"{name}_ReduceMax", axes=[-1], keepdims=1)
    graph.add("Reciprocal", [largest], [inverse], f"{name}_Reciprocal")
    graph.add("Mul", [x, inverse], [unit], f"{name}_Mul")
    grid = graph.weight("unit_scale", np.array(1 / 127, np.float32)), graph.weight("unit_zero", np.array(128, np.uint8))
    graph.add("QuantizeLinear", [unit, *grid], [code], f"{name}_QuantizeLinear")
    if factor:
        graph.add("Mul", [largest, factor], [token], f"{name}_token_Mul")
    return code, *grid, token if factor else largest
