"""The memory that an artefact needs to run.

It is measured in a process of its own, which loads the runtime, notes what it holds, and then opens and runs the
artefact: in a process that trained before, nobody could tell what belongs to whom. The artefact is opened twice, and
the second time counts: a first run of a 0.3 MB model adds 14 MB to ONNX Runtime and 168 MB to torch, all of it
libraries. glibc gives freed blocks back at once (_PLAIN_MALLOC): that took the spread of one artefact's figures from
9 % to 0.2 %.
"""

from __future__ import annotations

import gc
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from autocompress.errors import ConfigError
from autocompress.runtimes import isolated
from autocompress.runtimes.runtime import Runtime
from autocompress.space.goals import Measurement
from autocompress.space.settings import Target

if TYPE_CHECKING:
    from autocompress.runtimes.runtime import Inputs

_PLAIN_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # Linux


def peak_memory_mb(folder: Path, batch: Inputs, target: Target) -> float:
    """Millions of bytes that opening the artefact in `folder` and running `batch` adds to a process with the runtime.

    On a GPU it is the GPU's memory that is counted. Raises `ConfigError` where that cannot be told, `Unmeasured` if the
    artefact cannot be run, and `MemoryError` if there is not enough.
    """
    if target.device == "cuda" and target.runtime != "torch":
        raise ConfigError(
            "peak_memory_mb: on cuda it can be measured for the torch runtime only. "
            f"Got target.runtime {target.runtime}. Leave it out of objectives and constraints, or use torch."
        )
    found = isolated.ask(
        "autocompress.runtimes.peak_memory", "peak_memory_mb", [folder], batch, target, **_PLAIN_MALLOC
    )
    return found["peak_memory_mb"]


def _added(runtime: Runtime, folders: list[Path], batch: Inputs, target: Target) -> Measurement:
    """Of the first artefact."""
    folder, on_gpu = folders[0], target.device == "cuda"
    if _RESET.exists() or on_gpu:  # what is loaded on first use is the runtime's, whatever the artefact
        runtime.open(folder, target).run(batch)
    gc.collect()
    before = _allocated_on_gpu() if on_gpu else _resident()
    runtime.open(folder, target).run(batch)
    after = _most_on_gpu() if on_gpu else _peak()
    return {"peak_memory_mb": max(after - before, 0) / 1e6}


def _allocated_on_gpu() -> int:
    import torch

    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _most_on_gpu() -> int:
    import torch

    return torch.cuda.max_memory_allocated()


def _resident() -> int:
    """Bytes that this process holds now, from where a new peak is looked for. Not on Linux: the most it held so far."""
    if _RESET.exists():
        _RESET.write_text("5")
    return _peak()


def _peak() -> int:
    """The most bytes that this process held."""
    if _STATUS.exists():
        [kilobytes] = [line.split()[1] for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM")]
        return int(kilobytes) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    isolated.answer(_added)
