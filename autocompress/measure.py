"""Measure artefacts: latency against the baseline, score on labelled texts, bytes on disk.

Machines drift (one unchanged session had 20-run medians from 40 to 69 ms), so a candidate and the baseline run in turn,
A B A B ..., and what is kept is the ratio. `latency_ms` is the baseline's reference latency divided by that ratio.
"""

from __future__ import annotations

import os
import platform
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from autocompress.examples import Batch, Examples
from autocompress.ledger import Measurement
from autocompress.quiet import quiet
from autocompress.runtime import Session
from autocompress.settings import Target

_RESAMPLES = 1000


def latency(candidate: Session, baseline: Session, batch: Batch, target: Target) -> Measurement:
    """Run both in turn: `speedup` is the median of the pairwise ratios, its 95 % interval is bootstrapped.

    With one CPU thread the clock is the thread's own CPU time, steadier under load; the tail is always wall time:
    `latency_tail` is the 95th percentile over the median.
    """
    clock = clock_for(target)
    with quiet():
        warm_up(candidate, batch)
        warm_up(baseline, batch)
        pairs_N2, wall_N = _in_turn(candidate, baseline, batch, clock)
    ratio_N = pairs_N2[:, 1] / pairs_N2[:, 0]
    low, high = bootstrap_median(ratio_N)
    return {
        "speedup": float(np.median(ratio_N)), "speedup_low": low, "speedup_high": high,
        "latency_tail": float(np.percentile(wall_N, 95) / np.median(wall_N)), "latency_runs": float(len(ratio_N)),
    }  # fmt: skip


def in_milliseconds(measured: Measurement, reference_ms: float) -> Measurement:
    """Add what follows from the ratios once the baseline's latency on this machine is known."""
    latency_ms = reference_ms / measured["speedup"]
    return measured | {
        "latency_ms": latency_ms, "latency_ms_low": reference_ms / measured["speedup_high"],
        "latency_ms_high": reference_ms / measured["speedup_low"],
        "latency_ms_p95": latency_ms * measured["latency_tail"],
    }  # fmt: skip


def absolute_latency(session: Session, batch: Batch, target: Target) -> float:
    """Median milliseconds of one run on a warm session: the baseline's reference."""
    clock = clock_for(target)
    with quiet():
        warm_up(session, batch)
        pairs_N2, _ = _in_turn(session, session, batch, clock)
    return float(np.median(pairs_N2)) * 1e3


def clock_for(target: Target) -> Callable[[], float]:
    """CPU time of this thread where the model runs in it alone, wall time elsewhere."""
    return time.thread_time if target.threads == 1 and target.device == "cpu" else time.perf_counter


def warm_up(session: Session, batch: Batch, most: int = 60) -> None:
    """Run until two neighbouring blocks of five agree within 5 %, at most `most` runs."""
    blocks: list[float] = []
    for _ in range(most // 5):
        blocks.append(float(np.median([_timed(session, batch, time.perf_counter) for _ in range(5)])))
        if len(blocks) > 1 and abs(blocks[-1] / blocks[-2] - 1) < 0.05:
            return


def bootstrap_median(values_N: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the median by resampling with a fixed seed. Efron 1979."""
    rows = np.random.default_rng(0).integers(0, len(values_N), (_RESAMPLES, len(values_N)))
    low, high = np.percentile(np.median(values_N[rows], axis=1), [2.5, 97.5])
    return float(low), float(high)


def _in_turn(
    a: Session, b: Session, batch: Batch, clock: Callable[[], float], seconds: float = 0.6, least: int = 15
) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) seconds of a and b by `clock`, and (N,) wall seconds of a: at least `least` pairs and `seconds`."""
    pairs: list[tuple[float, float]] = []
    wall: list[float] = []
    start = time.perf_counter()
    while len(pairs) < least or time.perf_counter() - start < seconds:
        began = time.perf_counter()
        first = _timed(a, batch, clock)
        wall.append(time.perf_counter() - began)
        pairs.append((first, _timed(b, batch, clock)))
    return np.array(pairs), np.array(wall)


def _timed(session: Session, batch: Batch, clock: Callable[[], float]) -> float:
    start = clock()
    session.run(batch)
    return clock() - start


def logits(session: Session, examples: Examples, batch_size: int) -> np.ndarray:
    """Logits (N, C) of every text in order, in batches as the target will see them."""
    return np.concatenate([session.run(batch) for batch in examples.batches(batch_size)])


def latency_batch(examples: Examples, target: Target) -> Batch:
    """A batch of exactly target.batch_size x target.sequence_length tokens: real texts, repeated to fill the length."""
    length, fields = target.sequence_length, {}
    for name, rows in examples.fields.items():
        stream = [token for row in rows[:64] for token in row]
        needed = length * target.batch_size
        stream = (stream * (needed // len(stream) + 1))[:needed]
        fields[name] = [stream[at : at + length] for at in range(0, needed, length)]
    whole = Examples(fields, [0] * target.batch_size, examples.pad)
    return whole.batch(list(range(target.batch_size)))


def size_mb(artefact: Path) -> float:
    """Bytes of the runtime's model file, or of all in its folder, in millions."""
    return sum(file.stat().st_size for file in _files(artefact)) / 1e6


def archive_mb(artefact: Path) -> float:
    """The same deflated (fastest level): where zeros and repeated codes show."""
    packer, total = zlib.compressobj(1), 0
    for path in _files(artefact):
        with path.open("rb") as file:
            while chunk := file.read(1 << 22):
                total += len(packer.compress(chunk))
    return (total + len(packer.flush())) / 1e6


def _files(artefact: Path) -> list[Path]:
    return sorted(artefact.iterdir()) if artefact.is_dir() else [artefact]


def machine() -> dict[str, str]:
    """The fingerprint that every figure carries: figures from two machines are not compared."""
    return {"cpu": _cpu_model(), "arch": platform.machine(), "system": platform.system(), "cores": str(_cores())}


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
