"""What a model takes besides time: numbers, multiplications, and the memory that its artefact needs to run.

Memory is measured in a process of its own (`python -m autocompress.footprint`), which loads the runtime, notes what it
holds, and then opens and runs the artefact: in a process that trained before, nobody could tell what belongs to whom.
The artefact is opened twice, and the second time counts: a first run of a 0.3 MB model adds 14 MB to ONNX Runtime and
168 MB to torch, all of it libraries. glibc gives freed blocks back at once (_PLAIN_MALLOC): that took the spread of one
artefact's figures from 9 % to 0.2 %.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from autocompress.errors import ConfigError
from autocompress.examples import Batch, inputs
from autocompress.ledger import Measurement
from autocompress.runtime import find_runtime
from autocompress.settings import Target

_PATIENCE = 300.0  # seconds
_PLAIN_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # Linux


def measure_module(model: nn.Module, batch: Batch) -> Measurement:
    """`parameters`: the numbers it holds, shared ones once. `flops`: two for each multiply-add of its matrix products.

    All texts of a latency batch are of one length, so one of them is run and counts as often as there are texts.
    """
    device = next(model.parameters()).device
    text = {name: tensor[:1].to(device) for name, tensor in inputs(batch).items()}
    with torch.no_grad(), unfused(), FlopCounterMode(display=False) as counter:
        model(**text)
    flops = counter.get_total_flops() * len(batch["input_ids"])
    return {"parameters": float(sum(p.numel() for p in model.parameters())), "flops": float(flops)}


@contextmanager
def unfused() -> Iterator[None]:
    """Attention and LSTM as plain matrix products: the counter passes over the CPU's fused kernels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # setting oneDNN's flags back speaks of Intel's GPUs
        with sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False):
            yield


def peak_memory_mb(runtime: str, folder: Path, target: Target, batch: Batch) -> float:
    """Millions of bytes that opening the artefact in `folder` and running `batch` adds to a process with the runtime.

    On a GPU it is the GPU's memory that is counted. Raises `ConfigError` where that cannot be told, and `MemoryError`
    if there is not enough.
    """
    if target.device == "cuda" and runtime != "torch":
        raise ConfigError(
            "peak_memory_mb: on cuda it can be measured for the torch runtime only. "
            f"Got target.runtime {runtime}. Leave it out of objectives and constraints, or use torch."
        )
    sent = {"target": target.model_dump(), "batch": {name: t.tolist() for name, t in inputs(batch).items()}}
    package = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "autocompress.footprint", runtime, str(folder)], input=json.dumps(sent), text=True,
        capture_output=True, timeout=_PATIENCE, env=os.environ | _PLAIN_MALLOC | {"PYTHONPATH": path},
    )  # fmt: skip
    if done.returncode == -signal.SIGKILL:
        raise MemoryError("the process that measures peak_memory_mb was killed: it is out of memory")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise RuntimeError(f"peak_memory_mb could not be measured: {last}")
    return float(done.stdout.splitlines()[-1])


def _main() -> None:
    """The child: what is asked comes on standard input, the answer is the last line of standard output."""
    runtime, folder, asked = find_runtime(sys.argv[1]), Path(sys.argv[2]), json.load(sys.stdin)
    target = Target(**asked["target"])
    batch = {name: torch.tensor(rows) for name, rows in asked["batch"].items()}
    on_gpu = target.device == "cuda"
    if _RESET.exists() or on_gpu:  # what is loaded on first use is the runtime's, whatever the artefact
        runtime.open(folder, target).run(batch)
    gc.collect()
    before = _allocated_on_gpu() if on_gpu else _resident()
    runtime.open(folder, target).run(batch)
    after = torch.cuda.max_memory_allocated() if on_gpu else _peak()
    print(max(after - before, 0) / 1e6)


def _allocated_on_gpu() -> int:
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


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
    _main()
