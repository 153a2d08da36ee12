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


def _transposed(table: TensorProto, other: TensorProto) -> bool:
    """Whether they hold the same numbers, rows of the one as columns of the other."""
    if table is other or table.data_type != other.data_type or list(table.dims) != list(other.dims)[::-1]:
        return False
    return np.array_equal(numpy_helper.to_array(table), numpy_helper.to_array(other).T)
