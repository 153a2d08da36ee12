"""PyTorch, eager or compiled: the module, rebuilt from its structure, and its weights as safetensors.

A plain module is stored as `model.safetensors`. One with a precision plan is `packed.safetensors`, the plan in its
header; in an exported folder both lie side by side, for `autocompress.load` gives the plain one.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.machine.instructions import has_bfloat16, weight_bits
from autocompress.models import formats, storage
from autocompress.models.decoders.decoding import Decoder, decodes
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.models.simulation import simulate
from autocompress.runtimes import label_names
from autocompress.runtimes.torch.codes import encode, fill
from autocompress.runtimes.torch.product import ENGINE, on_grid
from autocompress.space.settings import Target
from autocompress.tasks.dataset import Batch, inputs

if TYPE_CHECKING:
    from autocompress.runtimes.runtime import Inputs

_PLAIN, _PACKED, _PLAN = "model.safetensors", "packed.safetensors", "precision"
_HALVES = ("float16", "bfloat16")
_STORED = {
    ("int8", "float32"), ("int4", "float32"), ("float16", "float32"), ("bfloat16", "float32"),
    ("codebook", "float32"), ("product", "float32"), ("ternary", "float32"),
}  # fmt: skip
_INT8 = {("int8", "dynamic_int8"), ("int8", "static_int8")}
_KERNELS = {
    "cpu": _STORED | _INT8 | {("bfloat16", "bfloat16")},
    "cuda": _STORED | {("float16", "float16"), ("bfloat16", "bfloat16")},
}


class _Logits(nn.Module):
    """Only what is asked for: the rest of an output would be compiled too."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self.model(**batch).logits
        return logits.float()


class TorchSession:
    """A module in eval mode on the target's device and threads. Compiled, it is so while it first runs: 5 to 30 s.

    A compiled one has free axes, so that other batches and lengths do not compile it again (a batch of one text does).
    """

    def __init__(self, model: nn.Module, target: Target) -> None:
        self._target, self._decodes = target, decodes(model)
        self.labels = label_names.of_model(model)
        self._logits = (Decoder if self._decodes else _Logits)(model.to(target.device))
        if target.compile:
            self._logits.compile(dynamic=True, options={"compile_threads": 1})

    def run(self, batch: Inputs) -> np.ndarray:
        return np.asarray(self.outputs(batch)["logits"])

    def outputs(self, batch: Inputs) -> dict[str, Any]:
        """The thread count is the process's own, so it is set back after every run."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._target.threads)
        try:
            with torch.inference_mode():
                moved = {name: torch.as_tensor(x, device=self._target.device) for name, x in inputs(batch).items()}
                found = self._logits(moved) if self._decodes else {"logits": self._logits(moved)}
                return found | {"logits": found["logits"].cpu().numpy()}
        finally:
            torch.set_num_threads(before)


class TorchRuntime:
    """float32; 8-bit products on x86 CPUs; half the bytes, computed with where the device can; fewer bits stored."""

    packages: tuple[str, ...] = ("safetensors", "torch", "transformers")
    opened_by = ""
    rounds_by_nodes = False

    def support(self, plan: PrecisionPlan, target: Target) -> None:
        for path, precision in plan.items():
            kind = (precision.weight, precision.activation)
            if kind not in _KERNELS[target.device] or (kind in _INT8 and ENGINE not in _engines()):
                raise NotApplicable(
                    f"torch has no kernels on {target.device} for {kind[0]} weights with {kind[1]} inputs, "
                    f"planned for {path}"
                )
            if kind[1] in _HALVES and set(plan.values()) != {precision}:
                raise NotApplicable(f"{path} computes in {kind[1]}, which is all of a model or nothing")
        if target.device == "cuda" and not torch.cuda.is_available():
            raise NotApplicable("target.device is cuda, but torch sees no GPU on this machine")
        if target.compile and target.device == "cpu" and not shutil.which(_compiler()):
            raise NotApplicable(
                f"target.compile is true, but there is no C++ compiler {_compiler()!r} on this machine. "
                "Install one, name it in the environment variable CXX, or leave target.compile out"
            )

    def computes_in(self, dtype: str, device: str) -> bool:
        return device == "cuda" or (dtype == "bfloat16" and has_bfloat16())

    def lower(self, model: nn.Module, plan: PrecisionPlan, batch: Batch, folder: Path) -> None:
        if not plan:
            storage.save(model, folder)
            return
        storage.save_skeleton(model, folder)
        save_file(encode(model, plan), folder / _PACKED, metadata={_PLAN: json.dumps(plan.dump())})

    def open(self, folder: Path, target: Target) -> TorchSession:
        if not (folder / _PACKED).exists():
            return TorchSession(storage.load(folder), target)
        with safe_open(folder / _PACKED, "pt") as file:
            plan = PrecisionPlan.parse(json.loads(file.metadata()[_PLAN]), {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        return TorchSession(fill(storage.load_skeleton(folder), tensors, plan), target)

    def simulate(self, model: nn.Module, plan: PrecisionPlan) -> nn.Module:
        return simulate(model, plan, on_grid=on_grid)

    def stored_bytes(self, O: int, I: int, precision: Precision, *, table: bool) -> float:
        return formats.find(precision.weight).bytes(O, I, precision)

    def artefact(self, folder: Path) -> Path:
        return folder / (_PACKED if (folder / _PACKED).exists() else _PLAIN)

    def describe(self) -> dict[str, Any]:
        return {"torch": torch.__version__, "int8_weight_bits": weight_bits(), "graph": 2}


def _compiler() -> str:
    """The one that torch.compile would call."""
    return os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")


def _engines() -> list[str]:
    engines: list[str] = torch.backends.quantized.supported_engines
    return engines


RUNTIME = TorchRuntime()
