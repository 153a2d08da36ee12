"""Weights that a recurrence reads whole: the file holds what the plan says, and the graph what it stands for.

No product of theirs stands in the graph, where `quantize` would find it: they are found by their own names, and the
nodes that read them read instead what is worked out of codes, once, when a session folds constants on loading.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from autocompress.models import formats, simulation
from autocompress.models.formats import packing
from autocompress.models.formats.codebook import SharedNumbers
from autocompress.models.formats.grid import Grid
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes.onnx.graph import HALVES, Graph
from autocompress.runtimes.onnx.unpack import Operator, chain, numbers, unpacked


def unpack_whole(graph: Graph, paths: Iterable[str], plan: PrecisionPlan) -> set[str]:
    """Let every node of `graph` that reads the weight of one of the modules at `paths` read what the plan makes of it.

    Returns those of the paths whose weights are there.
    """
    names = {path: f"model.{path}.weight" for path in paths}
    names = {path: graph.shared.get(name, name) for path, name in names.items()}
    found = {path: name for path, name in sorted(names.items()) if name in graph.weights}
    made = {name: _worked_out(graph, name, path, plan) for name, path in {n: p for p, n in found.items()}.items()}
    for node in graph.old if found else ():
        graph.resolve(node)
        for i, name in enumerate(node.input):
            node.input[i] = made.get(name, name)
    return set(found)


def _worked_out(graph: Graph, name: str, path: str, plan: PrecisionPlan) -> str:
    """The name of the matrix (O, I) as the codes in the file say it."""
    precision, given, W_OI = plan[path], plan.given(path), graph.values(name)
    format_, out = formats.find(precision.weight), f"{name}_float32"
    if format_.dtype is not None:
        graph.cast(graph.weight(name, W_OI.numpy(), HALVES[format_.dtype]), out)
        return out
    W_OI, (O, I) = W_OI * given.get("input_smooth", torch.ones(())), W_OI.shape
    if isinstance(format_, SharedNumbers):
        codes_OI, levels_K, bits, steps = format_.codes(W_OI, given["codebook"]), given["codebook"], precision.bits, []
    elif isinstance(format_, Grid):
        scale_OG = given["weight_scale"] if "weight_scale" in given else format_.scale(W_OI, precision)
        codes_OI = (format_.codes(W_OI, scale_OG, precision) - format_.lowest).to(torch.uint8)
        levels_K, bits = format_.lowest + torch.arange(2**format_.bits, dtype=torch.float32), format_.bits
        steps = [Operator("Mul", [], [_spread(graph, name, scale_OG, simulation.group_of(precision, I), I)], {})]
    else:
        raise TypeError(f"{precision.weight} is no format of a matrix that is multiplied")
    if "input_smooth" in given:
        steps.append(Operator("Mul", [], [graph.weight(f"{name}_unsmoothed", (1 / given["input_smooth"]).numpy())], {}))
    held = graph.weight(f"{name}_codes", packing.pack(codes_OI, bits).numpy())
    return chain(graph, held, [*unpacked(graph, name, levels_K, bits, I, numbers(graph, O, -1)), *steps], out, name)


def _spread(graph: Graph, name: str, scale_OG: Tensor, group: int, I: int) -> str:
    """The scale of every weight, or one that is broadcast to all."""
    scale = graph.weight(f"{name}_scale", scale_OG.float().numpy())
    if scale_OG.shape[1] == 1:
        return scale
    column = graph.weight("column", np.arange(I, dtype=np.int64) // group)
    graph.add("Gather", [scale, column], [f"{scale}_spread"], f"{scale}_Gather", axis=1)
    return f"{scale}_spread"
