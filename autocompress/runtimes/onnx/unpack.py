"""Weights for which ONNX Runtime has no kernels: the file holds packed codes, and the graph says what they stand for.

A byte is looked up in a table of 256 rows, one for what each of its codes stands for. A product's weight is worked out
once, when a session folds constants on loading, and then multiplied as any float32 weight. Of an embedding table only
the rows that are read are worked out, whenever they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from onnx import NodeProto, TensorProto
from torch import Tensor

from autocompress.errors import NotApplicable
from autocompress.models import formats
from autocompress.models.formats import packing
from autocompress.models.formats.codebook import SharedNumbers
from autocompress.models.formats.grid import Grid
from autocompress.models.formats.product import SharedParts
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes.onnx.graph import Graph


class _Coded(NamedTuple):
    """A matrix as codes (O, I), what they stand for (K,), and a scale for every row, or one for all, if it has them."""

    codes_OI: Tensor
    levels_K: Tensor
    scale_O1: Tensor | None
    bits: int


class Operator(NamedTuple):
    """An operator with one input more: that is what the step before it gives."""

    op: str
    before: list[str]
    after: list[str]
    attributes: dict[str, Any]


def unpacked_product(graph: Graph, node: NodeProto, path: str, plan: PrecisionPlan) -> None:
    """Float inputs times a weight that is worked out on loading: as the graph multiplies it, (O, I) or (I, O)."""
    weight = node.input[1]
    flipped = not any(a.name == "transB" and a.i for a in node.attribute)
    W = graph.values(weight)
    coded = _coded(W.T.contiguous() if flipped else W, node, path, plan)
    codes_RC = coded.codes_OI.T if flipped else coded.codes_OI
    R, C = codes_RC.shape

    def worked_out() -> tuple[str, ...]:
        held, lead = graph.weight(f"{weight}_codes", packing.pack(codes_RC, coded.bits).numpy()), numbers(graph, R, -1)
        steps = unpacked(graph, weight, coded.levels_K, coded.bits, C, lead)
        if coded.scale_O1 is not None:
            scale = (coded.scale_O1.T if flipped else coded.scale_O1).contiguous()
            steps.append(Operator("Mul", [], [graph.weight(f"{weight}_scale", scale.numpy())], {}))
        return (chain(graph, held, steps, f"{held}_float32", node.name),)

    [node.input[1]] = graph.once(("unpacked", weight, path), worked_out)
    graph.keep(node)


def unpacked_rows(graph: Graph, node: NodeProto, path: str, plan: PrecisionPlan) -> None:
    """Rows of an embedding table, worked out when they are read."""
    (table, rows), [out] = node.input, node.output
    W_VD, format_ = graph.values(table), formats.find(plan[path].weight)
    if isinstance(format_, SharedParts):
        codebook_MKd, bits = plan.given(path)["codebook"], plan[path].bits
        codes, steps = format_.codes(W_VD, codebook_MKd), _joined(graph, rows, table, codebook_MKd, bits, W_VD.shape[1])
    else:
        codes, levels_K, scale_V1, bits = _coded(W_VD, node, path, plan)
        steps = unpacked(graph, table, levels_K, bits, W_VD.shape[1], _lead(graph, rows))
        if scale_V1 is not None:
            scale = graph.weight(f"{table}_scale", scale_V1.numpy())
            if len(scale_V1) > 1:
                graph.add("Gather", [scale, rows], [f"{out}_scale"], f"{node.name}_scale")
                scale = f"{out}_scale"
            steps.append(Operator("Mul", [], [scale], {}))
    held = graph.weight(f"{table}_codes", packing.pack(codes, bits).numpy())
    chain(graph, rows, [Operator("Gather", [held], [], {}), *steps], out, node.name)


def _coded(W_OI: Tensor, node: NodeProto, path: str, plan: PrecisionPlan) -> _Coded:
    """A matrix in a format of one code a weight. `NotApplicable` for another."""
    precision, given = plan[path], plan.given(path)
    match formats.find(precision.weight):
        case SharedNumbers() as shared:
            return _Coded(shared.codes(W_OI, given["codebook"]), given["codebook"], None, precision.bits)
        case Grid() as grid if not precision.group_size:
            scale_O1 = given["weight_scale"] if "weight_scale" in given else grid.scale(W_OI, precision)
            codes_OI = grid.codes(W_OI, scale_O1, precision) - grid.lowest
            levels_K = grid.lowest + torch.arange(2**grid.bits, dtype=torch.float32)
            return _Coded(codes_OI.to(torch.uint8), levels_K, scale_O1, grid.bits)
    raise NotApplicable(f"onnxruntime has no {precision.weight} kernel for the {node.op_type} of {path}")


def unpacked(graph: Graph, name: str, levels_K: Tensor, bits: int, C: int, lead: str) -> list[Operator]:
    """From bytes to the C numbers of each row that their codes stand for."""
    levels, cast = graph.weight("levels", levels_K.numpy()), Operator("Cast", [], [], {"to": TensorProto.INT32})
    if bits == 8:
        return [cast, Operator("Gather", [levels], [], {})]

    def made() -> tuple[str, ...]:
        graph.add("Gather", [levels, _codes_of_byte(graph, bits)], [f"{levels}_of_byte"], f"{name}_levels")
        return (f"{levels}_of_byte",)

    [of_byte] = graph.once(("levels", levels, bits), made)
    return [cast, Operator("Gather", [of_byte], [], {}), *_row(graph, C, 8 // bits, lead)]


def _joined(graph: Graph, rows: str, name: str, codebook_MKd: Tensor, bits: int, D: int) -> list[Operator]:
    """From bytes to rows of D numbers, of which every part is one of the K that all rows share at its place."""
    M, K, d = codebook_MKd.shape
    steps, lead = [Operator("Cast", [], [], {"to": TensorProto.INT32})], _lead(graph, rows)
    if bits < 8:
        steps += [Operator("Gather", [_codes_of_byte(graph, bits)], [], {}), *_row(graph, M, 8 // bits, lead)]
    first = graph.weight(f"{name}_first", K * np.arange(M, dtype=np.int32))
    shared = graph.weight(f"{name}_codebook", codebook_MKd.flatten(0, 1).numpy())
    return [*steps, Operator("Add", [], [first], {}), Operator("Gather", [shared], [], {}), *_row(graph, D, d, lead)]


def _codes_of_byte(graph: Graph, bits: int) -> str:
    return graph.weight("codes_of_byte", packing.of_byte(bits).int().numpy())


def _row(graph: Graph, C: int, each: int, lead: str) -> list[Operator]:
    """What the last two axes hold as one, its first C numbers: the last byte, or part, of `each` may not be full."""
    ends = [numbers(graph, number) for number in (0, C, -1)]
    return [Operator("Reshape", [], [lead], {}), *([Operator("Slice", [], ends, {})] if C % each else [])]


def _lead(graph: Graph, rows: str) -> str:
    """The shape of what is read at `rows`, as a Reshape reads it: theirs, and one axis more."""

    def made() -> tuple[str, ...]:
        graph.add("Shape", [rows], [f"{rows}_shape"], f"{rows}_Shape")
        graph.add("Concat", [f"{rows}_shape", numbers(graph, -1)], [f"{rows}_lead"], f"{rows}_Concat", axis=0)
        return (f"{rows}_lead",)

    return graph.once(("lead", rows), made)[0]


def numbers(graph: Graph, *numbers: int) -> str:
    return graph.weight("numbers", np.array(numbers, np.int64))


def chain(graph: Graph, x: str, steps: list[Operator], out: str, name: str) -> str:
    """`out` = what the last step makes of what the one before it makes, and so on, of x."""
    for i, (op, before, after, attributes) in enumerate(steps):
        made = out if i == len(steps) - 1 else f"{out}_{i}"
        graph.add(op, [*before, x, *after], [made], f"{name}_{i}_{op}", **attributes)
        x = made
    return out
