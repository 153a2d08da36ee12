"""Reshapes to constant shapes: what remains of `x.view(batch, tokens, heads, -1)` once the sizes need no computing.

The exporter works every new shape out from those of other tensors, which takes seven nodes a reshape: 4 to 10 %
of the time of MiniLM in 8 bits at 32 tokens. In ONNX a 0 says "as the input's axis here" and one -1 "what is left".
"""

from __future__ import annotations

import logging
import math
import warnings
from functools import cache

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, helper, numpy_helper

from autocompress.runtimes.onnx.graph import needed

_FEW = 64  # numbers: a shape, not a weight
Shape = list[int | str]  # an axis is a number, or the name of a size that is known when the model runs


def simplify(model: ModelProto) -> ModelProto:
    """Give reshapes constant shapes where they have one, and drop the nodes that only worked shapes out. In place."""
    shapes, constants = inferred(model), {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Reshape" and (shape := constant_shape(node, shapes)):
            name = "shape_" + "_".join(map(str, shape))
            constants.setdefault(name, numpy_helper.from_array(np.array(shape, np.int64), name))
            node.input[1] = name
    nodes, read = needed(model.graph.node, [output.name for output in model.graph.output])
    for field, kept in (
        (model.graph.node, nodes),
        (model.graph.initializer, [tensor for name, tensor in constants.items() if name in read]),
    ):
        del field[:]
        field.extend(kept)
    return model


def inferred(model: ModelProto) -> dict[str, Shape]:
    """Shapes of tensors by name, as far as they can be told; of none where the tool fails."""
    try:
        graph = _symbolic(outline(model)).graph
    except (AttributeError, ImportError):
        _warn_of_onnxruntime()
        graph = onnx.shape_inference.infer_shapes(outline(model), data_prop=True).graph
    except Exception:  # it raises just that; the graph is right without, only slower
        return {}
    return {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def _symbolic(model: ModelProto) -> ModelProto:
    """The model with the shapes that ONNX Runtime's tool tells.

    Its steps one by one: its own `infer_shapes` writes a file into the working directory where it cannot tell all.
    """
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    logging.getLogger(SymbolicShapeInference.__module__).setLevel(logging.ERROR)  # it tells of every guess
    tool = SymbolicShapeInference(2**31 - 1, auto_merge=True, guess_output_rank=False, verbose=0)
    tool._preprocess(model)
    while tool.run_:
        tool._infer_impl()
    tool._update_output_from_vi()
    return tool.out_mp_


@cache
def _warn_of_onnxruntime() -> None:
    """Once a process."""
    warnings.warn(
        f"onnxruntime {onnxruntime.__version__} tells shapes otherwise than the versions that autocompress knows: "
        "models are right, and a few percent slower than they could be.", stacklevel=2,
    )  # fmt: skip


def outline(model: ModelProto) -> ModelProto:
    """The model without the numbers of its weights, which the tool would copy: they become inputs of their shape."""
    light = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) > _FEW:
            light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        else:
            light.graph.initializer.append(tensor)
    return light


def constant_shape(node: NodeProto, shapes: dict[str, Shape]) -> list[int] | None:
    """The shape that a reshape makes, said without sizes that are known at run time only; None if that needs more."""
    before, after = shapes.get(node.input[0]), shapes.get(node.output[0])
    if before is None or after is None or 0 in after:
        return None
    shape = [
        size if isinstance(size, int) else 0 if axis < len(before) and before[axis] == size else -1
        for axis, size in enumerate(after)
    ]
    return None if shape.count(-1) > 1 else shape
