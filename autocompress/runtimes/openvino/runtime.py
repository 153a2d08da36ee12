"""OpenVINO on a CPU: the folder `openvino` with `model.xml` and its weights `model.bin`, which any OpenVINO opens.

The graph is read from the ONNX export: as fast and as right as OpenVINO's own tracing of the module, which takes three
times as long and loses the paths of modules. What lowers is imported when it is needed: who serves a model needs
neither torch nor onnx.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino

from autocompress.errors import NotApplicable
from autocompress.machine.instructions import has_bfloat16, has_vnni, products_saturate, weight_bits
from autocompress.models.decoders.remembered import PRESENT, filled, names
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.runtimes import label_names
from autocompress.space.settings import Target

if TYPE_CHECKING:
    from torch import nn

    from autocompress.runtimes.runtime import Inputs
    from autocompress.tasks.dataset import Batch

_FOLDER, _FILE, _WEIGHTS = "openvino", "model.xml", "model.bin"
_OURS = "autocompress"
_COMPUTES = [_OURS, "inference_precision"]  # where the graph keeps what it computes in
_HALF = ("bfloat16", "bfloat16")
_KERNELS = {
    ("int8", "dynamic_int8"), ("int8", "static_int8"), ("int8", "float32"), ("int4", "float32"),
    ("float16", "float32"), ("bfloat16", "float32"), ("bfloat16", "bfloat16"),
}  # fmt: skip


class OpenVinoSession:
    """A compiled model on one stream of the target's threads, the first of which is the caller's own."""

    def __init__(self, folder: Path, target: Target) -> None:
        core = openvino.Core()
        model = core.read_model(folder / _FILE, folder / _WEIGHTS)
        computes = {"INFERENCE_PRECISION_HINT": model.get_rt_info(_COMPUTES).astype(str)}
        self.compiled = core.compile_model(model, "CPU", _options(target) | computes)
        self._request = self.compiled.create_infer_request()
        self._graph = {  # a tensor may have several names, of which `any_name` gives any
            node.get_node().friendly_name: (_shape(node), node.element_type.get_type_name())
            for node in self.compiled.inputs
        }
        self.labels = label_names.read(_said(model, label_names.KEY))
        self._gives = ["logits", *names((len(self.compiled.outputs) - 1) // 2, PRESENT)]

    def run(self, batch: Inputs) -> np.ndarray:
        logits: np.ndarray = self._request.infer(filled(batch, self._graph), share_inputs=True)[0]
        return logits

    def outputs(self, batch: Inputs) -> dict[str, Any]:
        found = self._request.infer(filled(batch, self._graph), share_inputs=True)
        return {name: found[i] for i, name in enumerate(self._gives)}


def _said(model: openvino.Model, name: str) -> str | None:
    """What the graph keeps under a name of ours."""
    place = [_OURS, name]
    return model.get_rt_info(place).astype(str) if model.has_rt_info(place) else None


def _shape(node: Any) -> list[Any]:
    """Of an input; None for an axis that is free."""
    return [None if axis.is_dynamic else axis.get_length() for axis in node.partial_shape]


def _options(target: Target) -> dict[str, str]:
    """All threads on one text. They are not bound to cores: other processes may be there already."""
    threads = {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(target.threads), "ENABLE_CPU_PINNING": "NO"}
    return {"PERFORMANCE_HINT": "LATENCY", **threads}


class OpenVinoRuntime:
    """float32, 4- and 8-bit weights with float or 8-bit inputs; bfloat16 on CPUs that have it."""

    packages: tuple[str, ...] = ("openvino",)
    opened_by = "OpenVINO"
    rounds_by_nodes = False  # its products do

    def support(self, plan: PrecisionPlan, target: Target) -> None:
        if target.device != "cpu":
            raise NotApplicable(f"target.device is {target.device}, but openvino runs on cpu only")
        for path, precision in plan.items():
            kind = (precision.weight, precision.activation)
            if kind not in _KERNELS:
                raise NotApplicable(
                    f"openvino has no kernels on cpu for {kind[0]} weights with {kind[1]} inputs, planned for {path}"
                )
            if kind == _HALF and set(plan.values()) != {precision}:
                raise NotApplicable(f"{path} computes in bfloat16, which is all of a model or nothing")
            if kind == _HALF and "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
                raise NotApplicable("openvino computes in bfloat16 on CPUs with instructions for it only")
            if precision.activation == "dynamic_int8" and not precision.per_token:
                raise NotApplicable(f"openvino rounds the inputs of {path} token by token: per_token must be true")
            if precision.activation == "dynamic_int8" and not has_vnni():
                raise NotApplicable(f"openvino rounds the inputs of {path} at run time on CPUs with VNNI only")

    def computes_in(self, dtype: str, device: str) -> bool:
        return device == "cpu" and dtype == "bfloat16" and has_bfloat16()

    def lower(self, model: nn.Module, plan: PrecisionPlan, batch: Batch, folder: Path) -> None:
        from autocompress.models import formats
        from autocompress.runtimes.onnx import quantize as onnx_quantize
        from autocompress.runtimes.onnx.export import export
        from autocompress.runtimes.onnx.transposes import coded_head, shares, store_once
        from autocompress.runtimes.openvino.quantize import quantize

        halves = PrecisionPlan({path: p for path, p in plan.items() if formats.find(p.weight).dtype})
        computes = "bf16" if _HALF in {(p.weight, p.activation) for p in plan.values()} else "f32"
        (folder / _FOLDER).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            plain = Path(scratch) / "model.onnx"
            ran = export(model, batch, plain)
            if halves:
                onnx_quantize.quantize(plain, ran, halves, plain, spare_bit=False)
            if shares(model) and not coded_head(model, plan):
                store_once(plain)
            graph = openvino.Core().read_model(plain)
            if len(plan) > len(halves):
                quantize(graph, model, ran, plan, spare_bit=products_saturate())
            graph.set_rt_info(computes, _COMPUTES)
            for name, said in label_names.write(model).items():
                graph.set_rt_info(said, [_OURS, name])
            openvino.save_model(graph, folder / _FOLDER / _FILE, compress_to_fp16=False)

    def open(self, folder: Path, target: Target) -> OpenVinoSession:
        return OpenVinoSession(folder / _FOLDER, target)

    def simulate(self, model: nn.Module, plan: PrecisionPlan) -> nn.Module:
        from autocompress.models.simulation import simulate
        from autocompress.runtimes.openvino.quantize import input_groups, on_grid

        groups = input_groups(model, plan) if has_vnni() else {}
        return simulate(model, plan, on_grid=on_grid, input_groups=groups)

    def stored_bytes(self, O: int, I: int, precision: Precision, *, table: bool) -> float:
        from autocompress.models import formats
        from autocompress.runtimes.openvino.quantize import weight_group

        if precision.group_size:
            precision = replace(precision, group_size=weight_group(precision, I))
        return formats.find(precision.weight).bytes(O, I, precision)

    def artefact(self, folder: Path) -> Path:
        return folder / _FOLDER

    def describe(self) -> dict[str, Any]:
        import torch

        from autocompress.runtimes.onnx.export import OPSET

        return {
            "openvino": openvino.__version__, "opset": OPSET, "torch": torch.__version__,
            "int8_weight_bits": weight_bits(), "graph": 4,
        }  # fmt: skip


RUNTIME = OpenVinoRuntime()
