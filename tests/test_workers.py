"""How many trials at once pay: by cores or GPUs, memory and trials."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from autocompress.space.search_space import SearchSpace
from autocompress.trials.executors import paying


@pytest.mark.parametrize(
    ("cores", "gpus", "gb", "trials", "count", "why"),
    [
        (2, 0, 16, 40, 2, "2 trials at once: one for each of 2 cores."),
        (1, 0, 16, 40, 1, ""),
        (64, 0, 256, 40, 10, "10 trials at once: a quarter of 40, for a search learns from those that have ended."),
        (8, 0, 3, 40, 3, "3 trials at once: what 3.0 GB of free memory hold."),
        (8, 0, 0.5, 40, 1, "One trial at a time: more would be above what 0.5 GB of free memory hold."),
        (64, 4, 256, 400, 4, "4 trials at once: one for each of 4 GPUs."),
        (8, 0, 16, 6, 1, "One trial at a time: more would be above a quarter of 6"),
    ],
)
def test_as_many_as_pay(
    project: Path, monkeypatch: pytest.MonkeyPatch, cores: int, gpus: int, gb: float, trials: int, count: int, why: str
) -> None:
    def memory() -> Any:
        return SimpleNamespace(available=gb * 1e9)

    monkeypatch.setattr(paying.fingerprint, "machine", lambda: {"cores": str(cores)})
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(psutil, "virtual_memory", memory)
    found, said = paying.paying(SearchSpace.load(project), trials)
    assert found == count
    assert said.startswith(why)
    assert bool(said) == bool(why)
