"""What tells one GPU from another: its name and its driver. Asked of nvidia-smi, so that who serves needs no torch."""

from __future__ import annotations

import os
import subprocess
from functools import cache


def facts(device: str) -> dict[str, str]:
    """The GPU that this process runs on and its driver, for `device` cuda; nothing for others.

    "unknown" where nvidia-smi cannot be asked: such figures are comparable with each other only.
    """
    return _asked(os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0]) if device == "cuda" else {}


@cache
def _asked(first: str) -> dict[str, str]:
    """`first`: the first one that CUDA_VISIBLE_DEVICES shows, a number or an id; empty: all are visible."""
    command = [
        "nvidia-smi",
        "--query-gpu=name,driver_version",
        "--format=csv,noheader",
        *(["-i", first] if first else []),
    ]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()[0]
        name, driver = (part.strip() for part in said.rsplit(",", 1))
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        name = driver = "unknown"
    return {"gpu": name, "driver": driver}
