"""Measure artefacts: latency against the baseline, score on labelled texts, bytes on disk.

Machines drift (one unchanged session had 20-run medians from 40 to 69 ms), so the candidate and the baseline run in
turn, and what is kept is the ratio. `latency_ms` is the baseline's reference latency divided by that ratio.

They take turns in blocks of runs, and the first runs of a block do not count: run by run, each finds the cache full of
the other's weights. That made an int8 model of two layers 33 % slower than it is by itself (2.50 and 1.88 ms beside a
baseline of 15.5 ms), and it is by itself that it will be served.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autocompress.machine.exclusive import quiet
from autocompress.runtimes.runtime import Session
from autocompress.space.goals import Measurement
from autocompress.space.settings import Target
from autocompress.tasks import finite
from autocompress.tasks.kind import Answer, TaskKind

if TYPE_CHECKING:  # torch: a process of its own measures without it
    from autocompress.runtimes.runtime import Inputs
    from autocompress.tasks.dataset import Batch, Examples

_RESAMPLES = 1000
_BLOCK, _BLOCK_WALL = 0.04, 0.4  # seconds by the clock that times; by the wall, should the machine be busy
_FEWEST, _MOST_SECONDS = 12, 2.5  # pairs of blocks; what a noisy machine may take
_NARROW = 0.03  # of the speedup: an interval that is good enough
# Two sessions of one file differ by where their weights come to lie: of 84 such ratios 79 were within 0.0125 of 1. One
# measurement cannot see that, for it opens its artefact once; so it is added to what it sees.
_REOPENED = 0.0125


def latency(candidate: Session, baseline: Session, batch: Inputs, target: Target) -> Measurement:
    """Run both in turn: `speedup` is the median of the ratios of neighbouring blocks, with its 95 % interval.

    The interval is bootstrapped; there are more blocks until it is narrow, for some seconds at most. With one CPU
    thread the clock is the thread's own CPU time, steadier under load. The tail is always wall time: `latency_tail` is
    the candidate's 95th percentile over its median. `latency_quiet` is 0 if others went on measuring or training.
    """
    clock = clock_for(target)
    ratios: list[float] = []
    wall: list[float] = []
    with quiet() as alone:
        warm_up(candidate, batch)
        warm_up(baseline, batch)
        start = time.perf_counter()
        while len(ratios) < _FEWEST or (_wide(ratios) and time.perf_counter() - start < _MOST_SECONDS):
            ratios.append(_ratio(candidate, baseline, batch, clock, wall, swapped=len(ratios) % 2 == 1))
    speedup = float(np.median(ratios))
    low, high = (
        speedup + math.copysign(math.hypot(end - speedup, _REOPENED * speedup), side)
        for end, side in zip(bootstrap_median(np.array(ratios)), (-1, 1), strict=True)
    )
    return {
        "speedup": speedup, "speedup_low": low, "speedup_high": high,
        "latency_tail": float(np.percentile(wall, 95) / np.median(wall)), "latency_runs": float(len(wall)),
        "latency_quiet": float(alone),
    }  # fmt: skip


def in_milliseconds(measured: Measurement, reference_ms: float) -> Measurement:
    """Add what follows from the ratios once the baseline's latency on this machine is known."""
    latency_ms = reference_ms / measured["speedup"]
    return measured | {
        "latency_ms": latency_ms, "latency_ms_low": reference_ms / measured["speedup_high"],
        "latency_ms_high": reference_ms / measured["speedup_low"],
        "latency_ms_p95": latency_ms * measured["latency_tail"],
    }  # fmt: skip


def absolute_latency(session: Session, batch: Inputs, target: Target) -> float:
    """Median milliseconds of one run on a warm session: the baseline's reference."""
    clock = clock_for(target)
    with quiet():
        warm_up(session, batch)
        blocks = [np.median(_block(session, batch, clock)[0]) for _ in range(2 * _FEWEST)]
    return float(np.median(blocks)) * 1e3


def clock_for(target: Target) -> Callable[[], float]:
    """CPU time of this thread where the model runs in it alone, wall time elsewhere."""
    return time.thread_time if target.threads == 1 and target.device == "cpu" else time.perf_counter


def warm_up(session: Session, batch: Inputs, most: int = 60) -> None:
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


def _wide(ratios: list[float]) -> bool:
    low, high = bootstrap_median(np.array(ratios))
    return high - low > _NARROW * float(np.median(ratios))


def _ratio(
    candidate: Session, baseline: Session, batch: Inputs, clock: Callable[[], float], wall: list[float], *,
    swapped: bool,
) -> float:  # fmt: skip
    """Baseline over candidate, of a block each; `swapped`: the baseline goes first. Adds to the candidate's `wall`."""
    order = (baseline, candidate) if swapped else (candidate, baseline)
    (first_N, first_wall), (second_N, second_wall) = (_block(session, batch, clock) for session in order)
    wall.extend(second_wall if swapped else first_wall)
    ratio = float(np.median(second_N) / np.median(first_N))
    return 1 / ratio if swapped else ratio


def _block(session: Session, batch: Inputs, clock: Callable[[], float]) -> tuple[list[float], list[float]]:
    """Seconds by `clock` and wall seconds of each of the later half of the runs of a block."""
    ran: list[float] = []
    wall = [time.perf_counter()]
    while sum(ran) < _BLOCK and wall[-1] - wall[0] < _BLOCK_WALL:
        ran.append(_timed(session, batch, clock))
        wall.append(time.perf_counter())
    half = len(ran) // 2
    return ran[half:], np.diff(wall).tolist()[half:]


def _timed(session: Session, batch: Inputs, clock: Callable[[], float]) -> float:
    start = clock()
    session.run(batch)
    return clock() - start


def answers(session: Session, kind: TaskKind, examples: Examples, batch_size: int) -> list[Answer]:
    """What it answers to every row in order, in batches as the target will see them. Raises `NotFinite`."""
    found: list[Answer] = []
    broken = 0
    for batch in examples.batches(batch_size):
        logits = session.run(batch)
        broken += finite.broken(logits)
        found += kind.answers(logits, batch)
    finite.refuse(broken, len(examples))
    return found


def latency_batch(examples: Examples, target: Target) -> Batch:
    """A batch of exactly target.batch_size x target.sequence_length tokens: real texts, repeated to fill the length."""
    from autocompress.tasks.dataset import Examples, inputs

    length, fields = target.sequence_length, {}
    for name, rows in inputs(examples.fields).items():
        stream = [token for row in rows[:64] for token in row]
        needed = length * target.batch_size
        stream = (stream * (needed // len(stream) + 1))[:needed]
        fields[name] = [stream[at : at + length] for at in range(0, needed, length)]
    whole = Examples(fields, None, examples.pad)
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
    return sorted(file for file in artefact.rglob("*") if file.is_file()) if artefact.is_dir() else [artefact]
