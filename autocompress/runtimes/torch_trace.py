"""What each module of an eager torch model takes, by hooks: its own time, without that of the modules inside it."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from autocompress import structure
from autocompress.runtime import Timed
from autocompress.runtimes.torch import TorchSession
from autocompress.settings import Target

if TYPE_CHECKING:
    from autocompress.runtime import Inputs

_WARM_UP, _RUNS = 5, 20


def trace(folder: Path, target: Target, batch: Inputs) -> list[Timed]:
    """Median wall seconds of every module that runs, without those of its submodules."""
    model = structure.load(folder)
    session, clock = TorchSession(model, target), _Clock(target.device)
    for path, module in model.named_modules():
        clock.watch(path, module)
    runs = []
    for _ in range(_WARM_UP + _RUNS):
        session.run(batch)
        runs.append(clock.reset())
    kept = runs[-_RUNS:]
    return [Timed(path, "", float(np.median([run[path] for run in kept]))) for path in kept[0]]


class _Clock:
    """A stack of the modules that are running: when each began, and what those inside it have taken so far."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._running: list[list[float]] = []
        self._own: dict[str, float] = defaultdict(float)

    def watch(self, path: str, module: nn.Module) -> None:
        """Time this module whenever it runs."""

        def before(*_: object) -> None:
            self._running.append([self._now(), 0.0])

        def after(*_: object) -> None:
            began, inside = self._running.pop()
            whole = self._now() - began
            self._own[path] += whole - inside
            if self._running:
                self._running[-1][1] += whole

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)

    def reset(self) -> dict[str, float]:
        """Seconds by path since the last call."""
        own, self._own = self._own, defaultdict(float)
        return own

    def _now(self) -> float:
        if self._device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()
