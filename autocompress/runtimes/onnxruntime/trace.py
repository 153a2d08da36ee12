"""What each node of an ONNX graph takes, as ONNX Runtime's own profiler says.

The session fuses nodes and names some of the new ones anew, but it keeps the names of tensors: so a node's module is
told by what it writes.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime

from autocompress.runtimes.onnxruntime.runtime import OnnxSession
from autocompress.runtimes.runtime import Timed
from autocompress.space.settings import Target

if TYPE_CHECKING:
    from onnx import NodeProto

    from autocompress.runtimes.runtime import Inputs

_WARM_UP, _RUNS = 5, 20


def trace(folder: Path, target: Target, batch: Inputs) -> list[Timed]:
    """Median wall seconds of every node of `model.onnx` in `folder`, after the session's own optimisation."""
    with tempfile.TemporaryDirectory() as scratch:
        optimised = Path(scratch) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(optimised)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(scratch) / "trace")
        session = OnnxSession(folder / "model.onnx", target, options)
        for _ in range(_WARM_UP + _RUNS):
            session.run(batch)
        events = json.loads(Path(session.end_profiling()).read_text())
        places = _places(onnx.load(optimised, load_external_data=False))
    spent: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(_SUFFIX):
            spent[event["name"].removesuffix(_SUFFIX), event["args"]["op_name"]].append(event["dur"] / 1e6)
    return [
        Timed(places.get(name, ""), operator, float(np.median(seconds[-_RUNS:])))
        for (name, operator), seconds in spent.items()
    ]


_SUFFIX = "_kernel_time"


def _places(model: onnx.ModelProto) -> dict[str, str]:
    """Node name -> path of the module that it belongs to."""
    return {node.name: _path(node) for node in model.graph.node}


def _path(node: NodeProto) -> str:
    """ "/model/encoder/layer.0/query/Add_output_0" -> "encoder.layer.0.query"; the graph's own output has no path."""
    written = next((name for name in node.output if "/" in name), node.name)
    return ".".join(written.split("/")[2:-1])
