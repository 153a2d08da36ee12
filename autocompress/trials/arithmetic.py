"""What trainings compute in: float32, or bfloat16 where products of that are faster, which a timed step decides.

Weights, gradients' sums and the optimizer stay float32: torch.autocast, as in Micikevicius et al. 2018,
arXiv:1710.03740; of bfloat16 in training Kalamkar et al. 2019, arXiv:1905.12322. A CPU without such products (AVX-512
BF16, AMX) is not asked.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch
from torch import nn

from autocompress.machine import instructions
from autocompress.methods.context import Context, Teacher
from autocompress.methods.trainer import backward
from autocompress.models.forward import placed
from autocompress.space.settings import Target
from autocompress.tasks.dataset import Batch
from autocompress.tasks.kind import TaskKind

FLOAT32, BFLOAT16 = "float32", "bfloat16"
DTYPES = {FLOAT32: torch.float32, BFLOAT16: torch.bfloat16}
_STEPS = 5  # of each, in turn
_TOKENS = 2048  # are enough to fill the products
_PAYS = 0.9  # of float32's time: for less, nothing is computed in fewer bits
_KEPT = 64  # compiled products: enough to lose no time
_CLEAR = 0.15  # of float32's time on either side of that: nothing is left to find out


def multiplies(device: torch.device) -> bool:
    """Whether the device has instructions for products of numbers in bfloat16."""
    return torch.cuda.is_bf16_supported(False) if device.type == "cuda" else instructions.has_bfloat16()


def keep_few_products() -> None:
    """Before torch's first product in bfloat16: bound what a process remembers of them.

    A product is compiled for each of its shapes, and two caches, oneDNN's and torch's, keep 1,024 each by themselves: a
    process grew by 2.5 MB with every small training. Who sets these variables is not contradicted.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, str(_KEPT))


def timed(model: nn.Module, batch: Batch, kind: TaskKind, device: torch.device) -> dict[str, float]:
    """Seconds of forward and backward of some rows of a batch in each format, in turn: the best of as many steps as
    the matter needs.
    """
    best = dict.fromkeys(DTYPES, float("inf"))
    rows = max(1, _TOKENS // batch["input_ids"].shape[1])
    some = {name: tensor[:rows] for name, tensor in batch.items()}
    with placed(model.train(), device):
        for step in range(_STEPS + 1):
            for name in DTYPES:
                seconds = _step(model, some, kind, device, name)
                best[name] = min(best[name], seconds) if step else best[name]  # the first one warms up
            if step > 1 and abs(best[BFLOAT16] / best[FLOAT32] - _PAYS) > _CLEAR:
                break
    return best


def faster(seconds: dict[str, float]) -> str:
    """The format to train in, by what a step took in each."""
    return BFLOAT16 if seconds[BFLOAT16] < _PAYS * seconds[FLOAT32] else FLOAT32


def _step(model: nn.Module, batch: Batch, kind: TaskKind, device: torch.device, name: str) -> float:
    ctx = Context(Teacher(lambda: model), [], Target(), kind=kind, device=device, dtype=DTYPES[name])
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    backward(model, batch, ctx, 1.0)
    wait()
    model.zero_grad()
    return time.perf_counter() - began
