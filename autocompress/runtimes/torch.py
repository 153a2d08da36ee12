"""PyTorch, eager: the module as it is, stored as safetensors and rebuilt from its structure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from autocompress import structure
from autocompress.errors import NotApplicable
from autocompress.examples import Batch, inputs
from autocompress.precision import PrecisionPlan
from autocompress.settings import Target

if TYPE_CHECKING:
    from autocompress.runtime import Inputs


class TorchSession:
    """A module in eval mode on the target's device and threads."""

    def __init__(self, model: nn.Module, target: Target) -> None:
        self._model = model.to(target.device)
        self._target = target

    def run(self, batch: Inputs) -> np.ndarray:
        """Logits (B, C). The thread count is the process's own, so it is set back after every run."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._target.threads)
        try:
            with torch.inference_mode():
                moved = {name: torch.as_tensor(x, device=self._target.device) for name, x in inputs(batch).items()}
                logits: np.ndarray = self._model(**moved).logits.float().cpu().numpy()
                return logits
        finally:
            torch.set_num_threads(before)


class TorchRuntime:
    """Carries out float32 only: eager int8 kernels are slower than float32 on CPUs, so none are offered."""

    packages: tuple[str, ...] = ("safetensors", "torch", "transformers")

    def support(self, plan: PrecisionPlan, target: Target) -> None:
        if plan:
            raise NotApplicable(f"the torch runtime runs float32 only, not {sorted({p.weight for p in plan.values()})}")
        if target.device == "cuda" and not torch.cuda.is_available():
            raise NotApplicable("target.device is cuda, but torch sees no GPU on this machine")

    def lower(self, model: nn.Module, plan: PrecisionPlan, batch: Batch, folder: Path) -> None:
        structure.save(model, folder)

    def open(self, folder: Path, target: Target) -> TorchSession:
        return TorchSession(structure.load(folder), target)

    def artefact(self, folder: Path) -> Path:
        return folder / "model.safetensors"

    def describe(self) -> dict[str, Any]:
        return {"torch": torch.__version__}


RUNTIME = TorchRuntime()
