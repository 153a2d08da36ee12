"""Carry a precision plan out in an ONNX graph: each planned product or look-up becomes the operators that have kernels.

Chosen by measurement on x86 with AVX-512 VNNI (benchmarks/results/precisions.md). int8 products are
MatMulIntegerToFloat with unsigned inputs and signed weights, written as such: of the ways to say the same in standard
operators onnxruntime recognises only some, and runs the others three times slower than float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import NodeProto
from torch import Tensor

from autocompress.errors import NotApplicable
from autocompress.models import formats, simulation
from autocompress.models.formats.grid import Grid
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.runtimes.onnx.export import path_of
from autocompress.runtimes.onnx.graph import HALVES, MICROSOFT, Graph, nested
from autocompress.runtimes.onnx.inputs import rounded, smoothed
from autocompress.runtimes.onnx.unpack import unpacked_product, unpacked_rows
from autocompress.runtimes.onnx.whole import unpack_whole

_PACKED = (4, 8)  # bits of codes with a scale that MatMulNBits and GatherBlockQuantized read
_ACCURACY = 4  # MatMulNBits multiplies int8 codes of the inputs: 1.1 to 2.3 times faster here than with float32 ones


def quantize(plain: Path, ran: Mapping[str, str], plan: PrecisionPlan, path: Path, *, spare_bit: bool) -> None:
    """Rewrite the graph in `plain`, of which `export` said `ran`, into `path`. Raises `NotApplicable`.

    `spare_bit`: 7-bit weights, for CPUs whose int8 products saturate.
    """
    graph, lost = Graph(onnx.load(plain)), set(plan) & set(ran.values())
    lost -= unpack_whole(graph, lost - {ran.get(path_of(node.name), "") for node in graph.old}, plan)
    for node in graph.old:
        place = ran.get(path_of(node.name), "")
        if place in plan:
            graph.resolve(node)
        if place in plan and graph.matrices(node):
            replace(graph, node, place, plan, spare_bit=spare_bit)
            lost.discard(place)
        else:
            graph.keep(node)
    if inner := sorted(lost & {ran.get(path_of(node.name), "") for node in nested(graph.old)}):
        raise NotApplicable(
            f"{inner[0]} is computed in a branch or a loop of the exported graph, where no product can be rounded"
        )
    if lost:
        raise RuntimeError(f"the exported graph has no node for {sorted(lost)}: its nodes are named otherwise")
    onnx.save(graph.finish(), path)


def replace(graph: Graph, node: NodeProto, path: str, plan: PrecisionPlan, *, spare_bit: bool) -> None:
    """Put what carries the plan out in the node's place. `NotApplicable` if its operator has no such kernel."""
    precision, format_ = plan[path], formats.find(plan[path].weight)
    scaled = _is_scaled(precision)
    if format_.dtype is not None:
        store_half(graph, node, HALVES[format_.dtype])
    elif node.op_type == "Gather" and scaled:
        look_up(graph, node, precision)
    elif node.op_type == "Gather":
        unpacked_rows(graph, node, path, plan)
    elif node.op_type not in ("MatMul", "Gemm"):
        raise NotApplicable(f"onnxruntime has no {precision.weight} kernel for the {node.op_type} of {path}")
    elif precision.activation != "float32":
        integer_product(graph, node, path, plan, spare_bit=spare_bit)
    elif packs(precision):
        packed_product(graph, node, path, plan)
    else:
        unpacked_product(graph, node, path, plan)


def packs(precision: Precision) -> bool:
    """Whether a product of these weights is one of packed groups, of which the last is filled up."""
    return _is_scaled(precision) and precision.activation == "float32"


def _is_scaled(precision: Precision) -> bool:
    format_ = formats.find(precision.weight)
    return isinstance(format_, Grid) and format_.bits in _PACKED


def store_half(graph: Graph, node: NodeProto, kind: int) -> None:
    """Matrices in two bytes a number. onnxruntime casts them once, on loading, and computes in float32.

    Rows of an embedding table it turns into float32 when it reads them.
    """
    if node.op_type == "Gather":
        (table, rows), [out] = node.input, node.output
        half = graph.weight(table, graph.values(table).numpy(), kind)
        graph.add("Gather", [half, rows], [f"{out}_half"], node.name)
        graph.cast(f"{out}_half", out)
        return
    for name in graph.matrices(node):
        stored = graph.weight(name, graph.values(name).numpy(), kind)
        [cast] = graph.once(("float32", stored), partial(graph.cast, stored, f"{stored}_float32"))
        node.input[list(node.input).index(name)] = cast
    graph.keep(node)


def integer_product(graph: Graph, node: NodeProto, path: str, plan: PrecisionPlan, *, spare_bit: bool) -> None:
    """8-bit inputs times 8-bit weights, added up in 32 bits, scaled to float32."""
    weight, bias = node.input[1], node.input[2:]
    W_OI, scale_OG = planned_weight(graph, node, path, plan)
    if spare_bit:
        scale_OG = 2 * scale_OG
    x = rounded(graph, node, path, plan)
    codes = graph.weight(f"{weight}_codes", simulation.codes(W_OI, scale_OG, plan[path]).T.contiguous().numpy())
    scales = graph.weight(f"{weight}_scale", scale_OG.flatten().numpy())
    [out], factors = node.output, [x.code, codes, x.scale, scales, x.zero]
    if not x.token:
        graph.add("MatMulIntegerToFloat", [*factors, "", *bias], [out], node.name, domain=MICROSOFT)
        return
    graph.add("MatMulIntegerToFloat", factors, [f"{out}_unscaled"], node.name, domain=MICROSOFT)
    scaled = f"{out}_scaled" if bias else out
    graph.scaled[scaled] = f"{out}_unscaled", x.token
    graph.add("Mul", [*graph.scaled[scaled]], [scaled], f"{node.name}_token")
    if bias:
        graph.add("Add", [scaled, *bias], [out], f"{node.name}_bias")


def packed_product(graph: Graph, node: NodeProto, path: str, plan: PrecisionPlan) -> None:
    """Float inputs times packed weights."""
    weight, bias = node.input[1], node.input[2:]
    W_OI, scale_OG = planned_weight(graph, node, path, plan)
    precision, (O, I) = plan[path], W_OI.shape
    bits, group = simulation.grid(precision).bits, simulation.group_of(precision, I)
    q_OGg = simulation.grouped(simulation.codes(W_OI, scale_OG, precision), group)
    codes = graph.weight(f"{weight}_codes", pack(q_OGg, bits))
    scales = graph.weight(f"{weight}_scale", scale_OG.numpy())
    x = smoothed(graph, node, plan.scale(path, "input_smooth"))
    graph.add(
        "MatMulNBits", [x, codes, scales, *(["", "", *bias] if bias else [])], list(node.output), node.name,
        domain=MICROSOFT, N=O, K=I, bits=bits, block_size=group, accuracy_level=_ACCURACY,
    )  # fmt: skip


def planned_weight(graph: Graph, node: NodeProto, path: str, plan: PrecisionPlan) -> tuple[Tensor, Tensor]:
    """The weight (O, I) as it is to be rounded, and the scale (O, G) of its grid."""
    W = graph.values(node.input[1])
    W_OI = W if any(a.name == "transB" and a.i for a in node.attribute) else W.T.contiguous()
    return simulation.planned(W_OI, path, plan)


def look_up(graph: Graph, node: NodeProto, precision: Precision) -> None:
    """Rows of an embedding table, turned into float32 when read."""
    (table, rows), [out] = node.input, node.output
    W_VD = graph.values(table)
    scale_VG = simulation.weight_scale(W_VD, precision)
    q_VD, scales = simulation.codes(W_VD, scale_VG, precision), graph.weight(f"{table}_scale", scale_VG.numpy())
    if precision.group_size:
        bits, group = simulation.grid(precision).bits, simulation.group_of(precision, W_VD.shape[1])
        codes = graph.weight(f"{table}_codes", pack(q_VD, bits))
        graph.add(
            "GatherBlockQuantized", [codes, rows, scales], [out], node.name, domain=MICROSOFT,
            bits=bits, block_size=group, gather_axis=0, quantize_axis=1,
        )  # fmt: skip
        return
    graph.add("Gather", [graph.weight(f"{table}_codes", q_VD.numpy()), rows], [f"{out}_code"], node.name)
    graph.cast(f"{out}_code", f"{out}_cast")
    if precision.per_channel:
        graph.add("Gather", [scales, rows], [f"{out}_scale"], f"{node.name}_scale")
    graph.add("Mul", [f"{out}_cast", f"{out}_scale" if precision.per_channel else scales], [out], f"{node.name}_Mul")


def pack(codes: Tensor, bits: int) -> np.ndarray:
    """Codes as unsigned numbers, their zero in the middle; of 4 bits two a byte."""
    unsigned = (codes.short() + (1 << (bits - 1))).to(torch.uint8)
    packed: np.ndarray = (unsigned if bits == 8 else simulation.two_a_byte(unsigned)).numpy()
    return packed
