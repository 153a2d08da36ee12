"""How fast a runtime multiplies and this machine's memory answers: the two ceilings of a roofline.

Williams, Waterman, Patterson 2009. A chain of wide products and nothing else is lowered and run like any model.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.machine.exclusive import quiet
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.runtimes import latency
from autocompress.runtimes.runtime import Session, find_runtime
from autocompress.space.settings import Settings, Target

_SHAPES = {"cpu": ((128, 384), (128, 768)), "cuda": ((4096, 4096),)}  # rows of the input, width of every product
_LENGTH = 6  # products in a chain
_COPIED = 1 << 25  # float32 numbers, 134 MB: more than caches hold
_INT8 = [Precision("int8", "dynamic_int8", per_channel=True, per_token=each) for each in (False, True)]


class Speeds(Settings):
    """Multiplications and additions a second in units of 10^9, and 10^9 bytes a second read or written."""

    float32: float
    int8: float | None  # None: the runtime has no such products
    memory: float

    @property
    def ridge(self) -> float:
        """Operations a byte from which on multiplying takes longer than reading and writing."""
        return self.float32 / self.memory


class _Chain(nn.Module):
    """x W W ... W, with the interface of a classifier."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.products = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(_LENGTH))

    def forward(self, x: Tensor) -> SimpleNamespace:
        for product in self.products:
            x = product(x)
        return SimpleNamespace(logits=x)


def speeds(target: Target) -> Speeds:
    """Measured with the target's runtime, device and threads. Each is that of the fastest of the shapes tried."""
    int8 = [PrecisionPlan({f"products.{i}": each for i in range(_LENGTH)}) for each in _INT8]
    return Speeds(
        float32=_fastest(target, [PrecisionPlan()]),
        int8=_fastest(target, [plan for plan in int8 if _supported(plan, target)]) or None,
        memory=_memory(target),
    )


def _supported(plan: PrecisionPlan, target: Target) -> bool:
    try:
        find_runtime(target.runtime).support(plan, target)
    except NotApplicable:
        return False
    return True


def _fastest(target: Target, plans: list[PrecisionPlan]) -> float:
    return max((_speed(target, shape, plan) for plan in plans for shape in _SHAPES[target.device]), default=0.0)


def _speed(target: Target, shape: tuple[int, int], plan: PrecisionPlan) -> float:
    rows, width = shape
    batch = {"x": torch.ones(1, rows, width)}
    with tempfile.TemporaryDirectory() as folder:
        session = _opened(_Chain(width).eval(), plan, batch, target, Path(folder))
        milliseconds = latency.absolute_latency(session, batch, target)
    return 2 * _LENGTH * rows * width**2 / milliseconds / 1e6


def _opened(chain: nn.Module, plan: PrecisionPlan, batch: dict[str, Tensor], target: Target, folder: Path) -> Session:
    runtime = find_runtime(target.runtime)
    if not runtime.opened_by:  # its artefact is a checkpoint, which a bare chain cannot be
        from autocompress.runtimes.torch.codes import encode, fill
        from autocompress.runtimes.torch.runtime import TorchSession

        eager = target.model_copy(update={"compile": False})  # compiled, products are the same
        return TorchSession(fill(chain, encode(chain, plan), plan) if plan else chain, eager)
    runtime.lower(chain, plan, batch, folder)
    return runtime.open(folder, target)


def _memory(target: Target) -> float:
    """Of a large copy: every byte is read once and written once."""
    source = torch.ones(_COPIED, device=target.device)
    copy, threads = torch.zeros_like(source), torch.get_num_threads()
    torch.set_num_threads(target.threads)
    try:
        with quiet():
            seconds = [_timed_copy(copy, source) for _ in range(7)]
    finally:
        torch.set_num_threads(threads)
    return 2 * 4 * _COPIED / float(np.median(seconds)) / 1e9


def _timed_copy(copy: Tensor, source: Tensor) -> float:
    start = time.perf_counter()
    copy.copy_(source)
    if copy.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
