"""ONNX Runtime: one `model.onnx` that needs no autocompress to run.

The graph comes from `torch.onnx.export` (the TorchScript exporter: 1 s where the dynamo exporter takes 16 s, and its
node names carry module paths, which is how a precision plan finds its nodes). int8 comes from
`onnxruntime.quantization`: weights signed, activations scaled on the fly, the pairing that has fast kernels on x86.
What lowers is imported when it is needed: who serves a model needs neither torch nor onnx.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from autocompress.errors import NotApplicable
from autocompress.precision import Precision, PrecisionPlan
from autocompress.settings import Target

if TYPE_CHECKING:
    from torch import nn

    from autocompress.examples import Batch
    from autocompress.runtime import Inputs

_FILE = "model.onnx"
_OPSET = 17  # the first with LayerNormalization as one node
_INT8 = Precision(weight="int8", activation="dynamic_int8")
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_GATHER_OR_MATMUL = {"Gather", "MatMul", "Gemm"}


class OnnxSession:
    """An ONNX Runtime session with the target's provider and threads, every graph optimisation on."""

    def __init__(self, path: Path, target: Target) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = target.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options, providers=[_PROVIDERS[target.device]])
        self._names = [node.name for node in self._session.get_inputs()]

    def run(self, batch: Inputs) -> np.ndarray:
        logits: np.ndarray = self._session.run(None, {name: np.asarray(batch[name]) for name in self._names})[0]
        return logits


class OnnxRuntime:
    """float32 and dynamic int8, on CPU and CUDA providers."""

    packages: tuple[str, ...] = ("onnxruntime",)

    def support(self, plan: PrecisionPlan, target: Target) -> None:
        if _PROVIDERS[target.device] not in onnxruntime.get_available_providers():
            raise NotApplicable(
                f"target.device is {target.device}, but this onnxruntime has no {_PROVIDERS[target.device]}"
            )
        if plan and target.device == "cuda":
            raise NotApplicable("onnxruntime has no int8 kernels on CUDA")

    def lower(self, model: nn.Module, plan: PrecisionPlan, batch: Batch, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if not plan:
            _export(model, batch, folder / _FILE)
            return
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            plain = Path(scratch) / _FILE
            _export(model, batch, plain)
            _quantize(plain, plan, folder / _FILE)

    def open(self, folder: Path, target: Target) -> OnnxSession:
        return OnnxSession(folder / _FILE, target)

    def artefact(self, folder: Path) -> Path:
        return folder / _FILE

    def describe(self) -> dict[str, Any]:
        import onnx

        return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__, "opset": _OPSET}


def _export(model: nn.Module, batch: Batch, path: Path) -> None:
    """Trace `model` with free batch and length axes."""
    import torch

    from autocompress.examples import inputs
    from autocompress.surgery import Logits

    names = list(inputs(batch))
    axes = {name: {0: "batch", 1: "tokens"} for name in names} | {"logits": {0: "batch"}}
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            Logits(model, names).eval(), tuple(batch[name] for name in names), str(path), dynamo=False,
            input_names=names, output_names=["logits"], dynamic_axes=axes, opset_version=_OPSET,
        )  # fmt: skip


def _quantize(plain: Path, plan: PrecisionPlan, path: Path) -> None:
    """Carry out the plan: linear layers as MatMulInteger, embedding tables as int8 rows."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes = _nodes_of(plain, plan)
    with _quiet():
        quantize_dynamic(
            plain, path, weight_type=QuantType.QInt8, nodes_to_quantize=nodes,
            op_types_to_quantize=["MatMul", "Gather"], per_channel=any(p.per_channel for p in plan.values()),
        )  # fmt: skip


def _nodes_of(plain: Path, plan: PrecisionPlan) -> list[str]:
    """The names of the nodes that hold the planned modules' weights. Gemm nodes are renamed by the quantizer."""
    import onnx

    found: dict[str, list[str]] = {path: [] for path in plan}
    for node in onnx.load(plain, load_external_data=False).graph.node:
        path = ".".join(node.name.split("/")[2:-1])
        if node.op_type in _GATHER_OR_MATMUL and path in found:
            found[path] += [node.name, node.name + "_MatMul"] if node.op_type == "Gemm" else [node.name]
    lost = [path for path, names in found.items() if not names]
    if lost:
        raise RuntimeError(
            f"the exported graph has no node for {lost}: the exporter names nodes otherwise than expected"
        )
    return [name for names in found.values() for name in names]


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter and the quantizer warn about what is known here: tracing, and an unoptimised input graph."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


RUNTIME = OnnxRuntime()
