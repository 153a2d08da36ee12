"""A table that is both the embeddings and the head of a model, stored once in its ONNX graph.

The exporter folds the head's transposed view of the table into a matrix of its own. Here that becomes a `Transpose` of
the table again, which runtimes carry out once, when they open the file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from autocompress.models.precision_plan import PrecisionPlan
from autocompress.runtimes.onnx.graph import needed


def shares(model: nn.Module) -> bool:
    """Whether a product of the model has a table of embeddings for its weight."""
    return bool(_heads(model))


def coded_head(model: nn.Module, plan: PrecisionPlan) -> bool:
    """Whether the plan rounds such a product."""
    return any(path in plan for path in _heads(model))


def _heads(model: nn.Module) -> list[str]:
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    return [path for path, m in model.named_modules() if isinstance(m, nn.Linear) and id(m.weight) in tables]


def store_once(path: Path) -> None:
    """Rewrite the graph in `path`: a matrix that is another one transposed is made of that."""
    model = onnx.load(path)
    matrices = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 2]
    made: dict[str, str] = {}  # what is made -> of what
    for table in matrices:
        for other in matrices:
            if table.name not in made and other.name not in made and _transposed(table, other):
                made[other.name] = table.name
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in made]
    nodes = [helper.make_node("Transpose", [table], [name], f"{name}_Transpose", perm=[1, 0])
             for name, table in made.items()]  # fmt: skip
    for field, new in ((model.graph.initializer, kept), (model.graph.node, [*nodes, *model.graph.node])):
        del field[:]
        field.extend(new)
    onnx.save(model, path)


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """A weight that is read transposed is stored so, as the exporter does where it folds constants.

    Of its constants, of which every slice has four, equal ones are kept once.
    """
    _shared_constants(model)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    turned = [n for n in model.graph.node if n.op_type == "Transpose" and n.input[0] in weights]
    for node in turned:
        [order] = [list(attribute.ints) for attribute in node.attribute]
        flipped = numpy_helper.to_array(weights[node.input[0]]).transpose(order)
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(flipped), node.output[0]))
        model.graph.node.remove(node)
    _, read = needed(model.graph.node, [output.name for output in model.graph.output])
    for name, tensor in weights.items():
        if name not in read:
            model.graph.initializer.remove(tensor)
    return model


def _shared_constants(model: onnx.ModelProto) -> None:
    first: dict[object, str] = {}
    again: dict[str, str] = {}  # the name of a constant -> that of the first one that is equal
    for node in [node for node in model.graph.node if node.op_type == "Constant"]:
        held = node.attribute[0].t
        tensor = numpy_helper.from_array(numpy_helper.to_array(held), node.output[0])
        key = held.data_type, tuple(held.dims), tensor.raw_data
        if key not in first:
            model.graph.initializer.append(tensor)
        again[node.output[0]] = first.setdefault(key, node.output[0])
        model.graph.node.remove(node)
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = again.get(name, name)


def _transposed(table: TensorProto, other: TensorProto) -> bool:
    """Whether they hold the same numbers, rows of the one as columns of the other."""
    if table is other or table.data_type != other.data_type or list(table.dims) != list(other.dims)[::-1]:
        return False
    return np.array_equal(numpy_helper.to_array(table), numpy_helper.to_array(other).T)
