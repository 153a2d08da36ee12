"""Carry a precision plan out in an OpenVINO graph: packed weights that are multiplied out, and rounded inputs.

A weight is stored as codes, and turned into float32 by nodes that OpenVINO does not run: its products read codes.
Where a FakeQuantize rounds their inputs they multiply 8-bit numbers, added up in 32 bits. Where none does, and the CPU
has VNNI, they still do: inputs are then rounded when the model runs, to signed codes with one scale for a group of
adjacent numbers of a token. That is what carries `dynamic_int8` out, with less error than one scale for all tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from openvino import Model, Node, Output, Shape, Tensor, Type
from openvino import opset13 as ops
from openvino.op import Constant
from torch import nn

from autocompress.errors import NotApplicable
from autocompress.models import formats, simulation
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.models.students.layers import read_whole
from autocompress.models.surgery import weight_OI
from autocompress.runtimes.onnx.export import path_of

_COSTS = {128: 0.34, 64: 0.38, 32: 0.44}  # of so many inputs that share a scale: time of a product, of float inputs'
_LEAST_GROUP = 8  # of weights that share a scale: fewer would store more scales than codes


def quantize(graph: Model, model: nn.Module, ran: Mapping[str, str], plan: PrecisionPlan, *, spare_bit: bool) -> None:
    """Rewrite `graph`, read from what `export` made of `model` and of which it said `ran`: its int8 and int4 layers.

    `spare_bit`: 7-bit weights beside 8-bit inputs, for CPUs whose int8 products saturate.
    """
    coded = {path for path, precision in plan.items() if formats.find(precision.weight).dtype is None}
    lost = coded & set(ran.values())
    for node in graph.get_ordered_ops():
        path = ran.get(path_of(node.get_friendly_name().removesuffix("/WithoutBiases")), "")
        if path in coded:
            for port in matrices(node):
                replace(node, port, path, plan, spare_bit=spare_bit)
                lost.discard(path)
    for node in graph.get_ordered_ops():
        path = node.get_friendly_name().removeprefix("model.").removesuffix(".weight")
        if path in lost and node.get_type_name() == "Constant":
            whole(node, path, plan)
            lost.discard(path)
    if lost:
        raise RuntimeError(f"the exported graph has no node for {sorted(lost)}: its nodes are named otherwise")
    graph.validate_nodes_and_infer_types()
    group = str(max(input_groups(model, plan).values(), default=0))
    graph.set_rt_info(group, ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])


def input_groups(model: nn.Module, plan: PrecisionPlan) -> dict[str, int]:
    """How many adjacent numbers of a product's input share a scale, by path, where inputs are rounded at run time.

    The graph has one such number, that with which its products take least time together. A product needs as many
    inputs, and whole groups of them in each group of its weights; else its inputs stay float32.
    """
    widths: dict[str, tuple[int, int, int]] = {}
    inside = read_whole(model)
    for path, precision in plan.items():
        module, rounded = model.get_submodule(path), precision.activation != "static_int8"
        coded = formats.find(precision.weight).dtype is None and path not in inside
        if coded and rounded and not isinstance(module, nn.Embedding):
            O, I = weight_OI(module).shape
            widths[path] = O, I, weight_group(precision, I)

    def saved(group: int) -> dict[str, float]:
        return {
            path: O * I * (1 - _COSTS[group])
            for path, (O, I, each) in widths.items()
            if group <= I and (each == I or not each % group)
        }

    best = max(_COSTS, key=lambda group: sum(saved(group).values()))
    return dict.fromkeys(saved(best), best)


def weight_group(precision: Precision, I: int) -> int:
    """How many weights share a stored scale: the most that both the plan's groups and the row are whole numbers of."""
    group = simulation.group_of(precision, I)
    return I if group >= I else math.gcd(group, I)


def matrices(node: Node) -> list[int]:
    """Which of the node's inputs are float weights of two dimensions or more."""
    found = [(port, source.get_node()) for port, source in enumerate(node.input_values())]
    return [
        port
        for port, one in found
        if one.get_type_name() == "Constant" and len(one.shape) > 1 and one.get_element_type() == Type.f32
    ]


def replace(node: Node, port: int, path: str, plan: PrecisionPlan, *, spare_bit: bool) -> None:
    """Put what carries the plan out in place of a weight. `NotApplicable` if its operator has no such kernel."""
    precision, kind = plan[path], node.get_type_name()
    W = torch.from_numpy(node.input_value(port).get_node().data.copy())
    if kind == "Gather":
        weight = unpacked(W, simulation.weight_scale(W, precision), path, precision)
        node.input(port).replace_source_output(weight)
    elif kind == "MatMul":
        product(node, W if node.get_attributes()["transpose_b"] else W.T.contiguous(), path, plan, spare_bit=spare_bit)
    else:
        raise NotApplicable(f"openvino has no {precision.weight} kernel for the {kind} of {path}")


def product(node: Node, W_OI: torch.Tensor, path: str, plan: PrecisionPlan, *, spare_bit: bool) -> None:
    """Inputs, rounded where the plan gives their grid, times packed weights."""
    W_OI, scale_OG = simulation.planned(W_OI, path, plan)
    x, smooth_I = node.input_value(0), plan.scale(path, "input_smooth")
    if smooth_I is not None:
        x = ops.multiply(x, ops.constant((1 / smooth_I).numpy())).output(0)
    scale, zero = plan.scale(path, "input_scale"), plan.scale(path, "input_zero_point")
    if scale is not None and zero is not None:
        low, high = ends(scale, zero)
        if x.get_node().get_type_name() == "Concat":  # before which it is moved, to what is joined, and lost there:
            x = apart(x)  # the largest answers of a CNN's filters came out alike for every text
        x = ops.fake_quantize(x, low, high, low, high, 256).output(0)
        scale_OG = 2 * scale_OG if spare_bit else scale_OG
    new = ops.matmul(x, unpacked(W_OI, scale_OG, path, plan[path]), transpose_a=False, transpose_b=True)
    new.set_friendly_name(node.get_friendly_name())
    node.output(0).replace(new.output(0))


def whole(node: Node, path: str, plan: PrecisionPlan) -> None:
    """Codes instead of a weight that a recurrence reads: float32 is made of them when the file is opened."""
    W_OI, scale_OG = simulation.planned(torch.from_numpy(node.data.copy()), path, plan)
    readers, weight = node.output(0).get_target_inputs(), unpacked(W_OI, scale_OG, path, plan[path])
    smooth_I = plan.scale(path, "input_smooth")
    if smooth_I is not None:
        weight = ops.multiply(weight, ops.constant((1 / smooth_I).numpy())).output(0)
    for reader in readers:
        # codes times scales that a product reads stay codes, and what a recurrence reads has to be a constant
        factor = reader.get_node().get_type_name() == "MatMul"
        reader.replace_source_output(apart(weight) if factor else weight)


def apart(x: Output) -> Output:
    """The same numbers, from a node that no rewriting of OpenVINO's sees through."""
    return ops.maximum(x, ops.constant(np.finfo(np.float32).min)).output(0)


def ends(scale: torch.Tensor, zero: torch.Tensor) -> list[np.float32]:
    """What the codes 0 and 255 stand for."""
    return [np.float32((end - zero.item()) * scale.item()) for end in (0, 255)]


def on_grid(x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    """`rounding.round_input` as the kernel of a FakeQuantize does it."""
    low, high = (torch.tensor(end) for end in ends(scale, zero))
    return (simulation.fused_codes(x, 255 / (high - low), -low * 255 / (high - low)) - zero) * scale


def unpacked(W_OI: torch.Tensor, scale_OG: torch.Tensor, path: str, precision: Precision) -> Output:
    """Codes times scales, (O, I): stored as (O, G, group) where a row has several scales."""
    O, I = W_OI.shape
    group = weight_group(precision, I)
    if group < min(_LEAST_GROUP, I) or (simulation.grid(precision).bits == 4 and I % 2):
        raise NotApplicable(f"openvino has no {precision.weight} kernel for the {I} inputs of {path}")
    shape = (O, I) if group == I else (O, I // group, group)
    codes = packed(simulation.codes(W_OI, scale_OG, precision), shape, precision)
    if group < I:
        scale_OG = scale_OG.repeat_interleave(simulation.group_of(precision, I) // group, 1)[:, : I // group, None]
    weight = ops.multiply(ops.convert(codes, Type.f32), ops.constant(scale_OG.float().numpy()))
    return (weight if group == I else ops.reshape(weight, [O, I], special_zero=False)).output(0)


def packed(codes: torch.Tensor, shape: tuple[int, ...], precision: Precision) -> Constant:
    """Codes as a constant of that shape; of 4 bits two a byte."""
    data, four = codes.reshape(-1), simulation.grid(precision).bits == 4
    held = (simulation.two_a_byte(data) if four else data.view(torch.uint8)).numpy()
    return Constant(Tensor(held, Shape(list(shape)), Type.i4 if four else Type.i8), shared_memory=False)
