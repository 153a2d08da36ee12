"""What each module of an eager torch model takes, by hooks: its own time, without that of the modules inside it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from autocompress.errors import NotApplicable
from autocompress.runtimes.runtime import Timed
from autocompress.runtimes.torch.runtime import RUNTIME
from autocompress.space.settings import Target

if TYPE_CHECKING:
    from autocompress.runtimes.runtime import Inputs

_WARM_UP, _RUNS = 5, 20


def trace(folder: Path, target: Target, batch: Inputs) -> list[Timed]:
    """Median wall seconds of every module that runs, without those of its submodules."""
    if target.compile:
        raise NotApplicable("a compiled module runs as one piece")
    session, clock, runs = RUNTIME.open(folder, target), _Clock(target.device), []
    with clock.watching():
        for _ in range(_WARM_UP + _RUNS):
            session.run(batch)
            runs.append(clock.reset())
    kept = runs[-_RUNS:]
    paths = {module: path for path, module in _unwrapped(clock.outermost).named_modules()}
    return [Timed(paths.get(m, ""), "", float(np.median([run[m] for run in kept]))) for m in kept[0]]


def _unwrapped(module: nn.Module) -> nn.Module:
    """A classifier has a body and a head: what has one child only is a wrapper of the session."""
    children = list(module.children())
    return _unwrapped(children[0]) if len(children) == 1 else module


class _Clock:
    """A stack of the modules that are running: when each began, and what those inside it have taken so far."""

    outermost: nn.Module

    def __init__(self, device: str) -> None:
        self._device = device
        self._running: list[list[float]] = []
        self._own: dict[nn.Module, float] = defaultdict(float)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Time every module that runs in this process meanwhile."""
        handles = [register_module_forward_pre_hook(self._begin), register_module_forward_hook(self._end)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def reset(self) -> dict[nn.Module, float]:
        """Seconds by module since the last call."""
        own, self._own = self._own, defaultdict(float)
        return own

    def _begin(self, module: nn.Module, *_: object) -> None:
        if not self._running:
            self.outermost = module
        self._running.append([self._now(), 0.0])

    def _end(self, module: nn.Module, *_: object) -> None:
        began, inside = self._running.pop()
        whole = self._now() - began
        self._own[module] += whole - inside
        if self._running:
            self._running[-1][1] += whole

    def _now(self) -> float:
        if self._device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()
