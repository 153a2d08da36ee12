"""How many trials at once pay on this machine: what `workers: auto` means.

Two workers of one thread each trained 1.55 times as many trials an hour as one with two threads (2 cores, MiniLM, short
texts), so each core or GPU gets a worker, as far as the memory goes. But a search learns from trials that have ended:
at most a quarter of them are under way together.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from autocompress.machine import fingerprint

if TYPE_CHECKING:
    from autocompress.space.search_space import SearchSpace

Workers = int | Literal["auto"]

_LIBRARIES = 0.8e9  # bytes that torch, transformers and a runtime take in a process
_COPIES = 8  # of the model: teacher, student, its gradient and moments, two artefacts, and as much for a batch
_TOGETHER = 4  # one in so many of the trials


def paying(space: SearchSpace, trials: int) -> tuple[int, str]:
    """How many workers for so many trials of a space, and why, in a sentence; none where there is no choice."""
    import torch  # a search has loaded it by now

    gpus, free = torch.cuda.device_count(), psutil.virtual_memory().available
    places, place = (gpus, "GPU") if gpus else (int(fingerprint.machine()["cores"]), "core")
    limits = {
        f"one for each of {places} {place}s": places,
        f"what {free / 1e9:.1f} GB of free memory hold": int(free / (_LIBRARIES + _COPIES * _weights(space))),
        f"a quarter of {trials}, for a search learns from those that have ended": trials // _TOGETHER,
    }
    why = min(limits, key=lambda reason: limits[reason])
    if places == 1 or trials == 1:
        return 1, ""
    if limits[why] < 2:
        return 1, f"One trial at a time: more would be above {why}."
    return limits[why], f"{limits[why]} trials at once: {why}. --workers 1 has one after the other."


def _weights(space: SearchSpace) -> int:
    """Bytes of the model to compress."""
    from autocompress.models.loading import locate

    folder = Path(locate(space.model, space.root))
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
