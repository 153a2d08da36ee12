"""ONNX Runtime: one `model.onnx` that needs no autocompress to run.

The session itself fuses what it has faster kernels for (GELU with its bias, layer norm, the scale of attention scores),
for candidates and baseline alike and whatever their widths. What lowers is imported when it is needed: who serves a
model needs neither torch nor onnx.
"""

from __future__ import annotations

import copy
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from autocompress.errors import NotApplicable
from autocompress.machine.instructions import products_saturate, weight_bits
from autocompress.models.decoders.remembered import filled
from autocompress.runtimes import label_names
from autocompress.space.settings import Target

if TYPE_CHECKING:
    from torch import nn

    from autocompress.models.precision_plan import Precision, PrecisionPlan
    from autocompress.runtimes.runtime import Inputs
    from autocompress.tasks.dataset import Batch

_FILE = "model.onnx"
_MEMORY_SHARE = 0.5
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxSession:
    """An ONNX Runtime session with the target's provider and threads, every graph optimisation on."""

    def __init__(self, path: Path, target: Target, options: onnxruntime.SessionOptions | None = None) -> None:
        options = options or onnxruntime.SessionOptions()
        options.intra_op_num_threads = target.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.use_env_allocators", "1")
        _bound_memory()
        self._quiet = onnxruntime.RunOptions()
        self._quiet.log_severity_level = 4  # what fails is raised
        self._session = onnxruntime.InferenceSession(path, options, providers=[_PROVIDERS[target.device]])
        _check_provider(self._session, target)
        self._graph = {node.name: (node.shape, node.type) for node in self._session.get_inputs()}
        self._gives = [node.name for node in self._session.get_outputs()]
        self.labels = label_names.read(self._session.get_modelmeta().custom_metadata_map.get(label_names.KEY))

    def run(self, batch: Inputs) -> np.ndarray:
        logits: np.ndarray = self._session.run(self._gives[:1], filled(batch, self._graph), self._quiet)[0]
        return logits

    def outputs(self, batch: Inputs) -> dict[str, Any]:
        found = self._session.run(self._gives, filled(batch, self._graph), self._quiet)
        return dict(zip(["logits", *self._gives[1:]], found, strict=True))

    def end_profiling(self) -> str:
        """Where ONNX Runtime has written the time of every node, if the options asked for it."""
        return str(self._session.end_profiling())


def _check_provider(session: onnxruntime.InferenceSession, target: Target) -> None:
    """Raise `NotApplicable` where the model would run elsewhere than on the target's device.

    The library offers what it was built with. Where that cannot be loaded it takes the CPU and does not say so.
    """
    asked, [first, *_] = _PROVIDERS[target.device], session.get_providers()
    if first != asked:
        raise NotApplicable(
            f"target.device is {target.device}, but onnxruntime runs the model with {first}, because its {asked} could "
            "not be loaded. Install the CUDA and cuDNN that this onnxruntime was built for, or write device: cpu"
        )


@cache
def _bound_memory() -> None:
    """One arena for the CPU's tensors of all sessions: a small graph can ask for any size, and must not get it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    arena = onnxruntime.OrtArenaCfg({"max_mem": int(_MEMORY_SHARE * memory)})
    onnxruntime.create_and_register_allocator(place, arena)


class OnnxRuntime:
    """float32, weights in fewer bits with float or 8-bit inputs on a CPU; float32 and float16 on CUDA."""

    packages: tuple[str, ...] = ("onnxruntime",)
    opened_by = "ONNX Runtime"
    rounds_by_nodes = True

    def support(self, plan: PrecisionPlan, target: Target) -> None:
        if _PROVIDERS[target.device] not in onnxruntime.get_available_providers():
            raise NotApplicable(
                f"target.device is {target.device}, but this onnxruntime has no {_PROVIDERS[target.device]}"
            )
        for path, precision in plan.items():
            kind = (precision.weight, precision.activation)
            if kind not in _KERNELS[target.device]:
                raise NotApplicable(
                    f"onnxruntime has no kernels on {target.device} for {kind[0]} weights with {kind[1]} inputs, "
                    f"planned for {path}"
                )
            if kind == _HALF and set(plan.values()) != {precision}:
                raise NotApplicable(f"{path} computes in float16, which is all of a model or nothing")

    def computes_in(self, dtype: str, device: str) -> bool:
        return device == "cuda"

    def lower(self, model: nn.Module, plan: PrecisionPlan, batch: Batch, folder: Path) -> None:
        from autocompress.runtimes.onnx.export import export
        from autocompress.runtimes.onnx.quantize import quantize
        from autocompress.runtimes.onnx.transposes import shares, store_once

        folder.mkdir(parents=True, exist_ok=True)
        if any((p.weight, p.activation) == _HALF for p in plan.values()):
            export(copy.deepcopy(model).half(), batch, folder / _FILE)
        elif not plan:
            export(model, batch, folder / _FILE)
        else:
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                plain = Path(scratch) / _FILE
                ran = export(model, batch, plain)
                quantize(plain, ran, plan, folder / _FILE, spare_bit=products_saturate())
        if shares(model):
            store_once(folder / _FILE)

    def open(self, folder: Path, target: Target) -> OnnxSession:
        return OnnxSession(folder / _FILE, target)

    def simulate(self, model: nn.Module, plan: PrecisionPlan) -> nn.Module:
        from autocompress.models.simulation import simulate

        return simulate(model, plan, rounds_groups=True)

    def stored_bytes(self, O: int, I: int, precision: Precision, *, table: bool) -> float:
        from autocompress.models import formats, simulation
        from autocompress.runtimes.onnx.quantize import packs

        whole_groups = packs(precision) and not table
        filling = -I % simulation.group_of(precision, I) if whole_groups else 0
        return formats.find(precision.weight).bytes(O, I + filling, precision)

    def artefact(self, folder: Path) -> Path:
        return folder / _FILE

    def describe(self) -> dict[str, Any]:
        import onnx
        import torch

        from autocompress.runtimes.onnx.export import OPSET

        return {
            "onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__, "opset": OPSET,
            "torch": torch.__version__, "int8_weight_bits": weight_bits(), "graph": 5,
        }  # fmt: skip


_HALF = ("float16", "float16")
_KERNELS = {
    "cpu": {
        ("int8", "dynamic_int8"), ("int8", "static_int8"), ("int8", "float32"), ("int4", "float32"),
        ("float16", "float32"), ("bfloat16", "float32"), ("codebook", "float32"), ("product", "float32"),
        ("ternary", "float32"),
    },
    "cuda": {_HALF},
}  # fmt: skip


RUNTIME = OnnxRuntime()
