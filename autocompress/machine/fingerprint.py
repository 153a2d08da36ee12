"""Which machine this is: every figure carries it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from autocompress.machine import gpu


def machine(device: str = "cpu") -> dict[str, str]:
    """The fingerprint that every figure carries: figures from two machines are not compared. On cuda with its GPU."""
    cpu = {"cpu": _cpu_model(), "arch": platform.machine(), "system": platform.system(), "cores": str(_cores())}
    return cpu | gpu.facts(device)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    facts = dict(line.split(":", 1) for line in info.read_text().split("\n\n")[0].splitlines() if ":" in line)
    plain = {k.strip(): v.strip() for k, v in facts.items()}
    vnni = "vnni" if "vnni" in plain.get("flags", "") else "no vnni"
    return f"{plain.get('model name', platform.processor())} ({vnni})"
