"""An ONNX graph being rewritten node by node."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

MICROSOFT = "com.microsoft"  # the domain of the operators that onnxruntime has beyond the standard's
HALVES = {torch.float16: TensorProto.FLOAT16, torch.bfloat16: TensorProto.BFLOAT16}


class Graph:
    """The old nodes, to be read; the new ones, to be added in order; and the weights of both by name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self.old = list(model.graph.node)
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.shared = {  # other names of weights
            node.output[0]: node.input[0] for node in self.old
            if node.op_type == "Identity" and node.input[0] in self.weights
        }  # fmt: skip
        self.scaled: dict[str, tuple[str, str]] = {}  # a tensor that is another one, times a factor for every token
        self._new: list[NodeProto] = []
        self._made: dict[Hashable, tuple[str, ...]] = {}

    def matrices(self, node: NodeProto) -> list[str]:
        """The node's inputs that are weights of two dimensions or more."""
        return [name for name in node.input if name in self.weights and len(self.weights[name].dims) > 1]

    def resolve(self, node: NodeProto) -> None:
        """Let the node read weights by their own names: what several modules share comes by way of an Identity."""
        for i, name in enumerate(node.input):
            if name in self.shared:
                node.input[i] = self.shared[name]

    def values(self, name: str) -> Tensor:
        """A weight."""
        return torch.from_numpy(numpy_helper.to_array(self.weights[name]).copy())

    def keep(self, node: NodeProto) -> None:
        """Take a node over."""
        self._new.append(node)

    def add(self, op: str, inputs: list[str], outputs: list[str], name: str, **attributes: Any) -> None:
        """Add a new node."""
        self._new.append(helper.make_node(op, inputs, outputs, name, **attributes))

    def weight(self, name: str, values: np.ndarray, dtype: int | None = None) -> str:
        """Store a weight, as the ONNX type `dtype` if it is given. Its name: equal values of a name are stored once."""
        dtype = helper.np_dtype_to_tensor_dtype(values.dtype) if dtype is None else dtype
        data = values.astype(helper.tensor_dtype_to_np_dtype(dtype)).tobytes()
        name = f"{name}_{zlib.crc32(data):08x}"
        self.weights[name] = helper.make_tensor(name, dtype, values.shape, data, raw=True)
        return name

    def cast(self, name: str, to: str) -> tuple[str]:
        """`to` = `name` as float32."""
        self.add("Cast", [name], [to], f"{to}_Cast", to=TensorProto.FLOAT)
        return (to,)

    def once(self, key: Hashable, make: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
        """What `make` names, made for the first who asks."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def finish(self) -> onnx.ModelProto:
        """The model with the new nodes, and without nodes and weights that nothing reads."""
        graph = self._model.graph
        nodes, read = needed(self._new, [output.name for output in graph.output])
        kept = [tensor for name, tensor in self.weights.items() if name in read]
        for field, new in ((graph.node, nodes), (graph.initializer, kept), (graph.value_info, [])):
            del field[:]
            field.extend(new)
        self._model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
        return self._model


def needed(nodes: Sequence[NodeProto], outputs: Iterable[str]) -> tuple[list[NodeProto], set[str]]:
    """Those of a graph's nodes that its outputs depend on, in order, and the names of all that is read."""
    kept, read = [], set(outputs)
    for node in reversed(nodes):
        if not read.isdisjoint(node.output):
            kept.append(node)
            read.update(_inputs(node))
    return kept[::-1], read


def nested(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """The nodes in the branches and bodies of these, however deep."""
    for node in nodes:
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from graph.node
                yield from nested(graph.node)


def _inputs(node: NodeProto) -> Iterator[str]:
    """The names that a node reads, the branches of an `If` and the body of a loop too."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            yield from (output.name for output in graph.output)  # a branch may hand on what lies outside
            for inner in graph.node:
                yield from _inputs(inner)
