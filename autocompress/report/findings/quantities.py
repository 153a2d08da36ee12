"""What people call the quantities, and how a figure reads."""

from __future__ import annotations

from autocompress.space.goals import QUANTITIES, Measurement

_NAMES = {  # name: (what it is called, its unit, how its figures are written)
    "score": ("score", "", ".3f"),
    "latency_ms": ("latency", "ms", ".2f"),
    "latency_ms_p95": ("latency, 95th percentile", "ms", ".2f"),
    "size_mb": ("size", "MB", ".1f"),
    "archive_mb": ("size, deflated", "MB", ".1f"),
    "peak_memory_mb": ("peak memory", "MB", ".0f"),
    "training_seconds": ("training", "s", ".0f"),
    "speedup": ("speedup", "x", ".2f"),
    "token_latency_ms": ("latency of a further token", "ms", ".2f"),
    "token_latency_ms_p95": ("latency of a further token, 95th percentile", "ms", ".2f"),
    "token_speedup": ("speedup of a further token", "x", ".2f"),
}


def called(name: str) -> str:
    """`latency`."""
    return _of(name)[0]


def label(name: str, metric: str = "") -> str:
    """`latency, ms`; a score with what it is, if that is said: `score (accuracy)`."""
    what, unit, _ = _of(name)
    if name == "score" and metric:
        return f"{what} ({metric})"
    return f"{what}, {unit}" if unit else what


def figure(name: str, value: float) -> str:
    """`1.23 ms`."""
    _, unit, form = _of(name)
    return f"{value:{form}}" + {"": "", "x": "x"}.get(unit, f" {unit}")


def told(name: str, measurement: Measurement) -> str:
    """`latency 1.23 ms (1.20 to 1.27)`."""
    _, _, form = _of(name)
    low, high = (measurement.get(f"{name}_{end}") for end in ("low", "high"))
    interval = "" if low is None or high is None else f" ({low:{form}} to {high:{form}})"
    return f"{called(name)} {figure(name, measurement[name])}{interval}"


def _of(name: str) -> tuple[str, str, str]:
    assert name in QUANTITIES
    return _NAMES.get(name, (name, "", ".4g"))
