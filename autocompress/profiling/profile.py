"""What a model is made of and where its time goes, measured on its target.

Shares of the latency are those of the pieces as the runtime itself times them; their milliseconds are these shares of a
latency that was measured without a profiler, which costs a few per cent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from torch import nn

from autocompress.errors import NotApplicable
from autocompress.machine import fingerprint
from autocompress.machine.exclusive import quiet
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.profiling.kinds import KINDS, Kind, Kinds
from autocompress.profiling.parts import Part, take_apart
from autocompress.profiling.savings import Saving, savings
from autocompress.profiling.speeds import Speeds
from autocompress.runtimes import latency
from autocompress.runtimes.runtime import find_runtime, find_tracer
from autocompress.space.settings import Settings, Target
from autocompress.tasks.dataset import Batch


class Row(Settings):
    """One kind of layer, or the whole model.

    `bytes`: of its parameters as they are stored. `flops_per_byte`: operations of its products for each byte that they
    read or write, everything once; `bound` says which ceiling is lower there. `needed_ms`: what its multiply-adds take
    at the speed of the runtime's products; `times_needed`: the measured time over that. None: not measured, or it
    multiplies nothing.
    """

    kind: Kind | Literal["all"]
    parameters: int
    bytes: float
    multiply_adds: float
    latency_ms: float | None
    share: float | None
    flops_per_byte: float | None
    bound: Literal["compute", "memory"] | None
    needed_ms: float
    gflops: float | None
    times_needed: float | None


class Profile(Settings):
    """The whole answer. `kinds` are those that the model has; their shares of the latency add up to 1."""

    model: str
    target: Target
    machine: dict[str, str]
    size_mb: float
    all: Row
    kinds: tuple[Row, ...]
    speeds: Speeds
    savings: tuple[Saving, ...]


def profile(
    name: str, model: nn.Module, plan: PrecisionPlan, folder: Path, batch: Batch, target: Target, speeds: Speeds
) -> Profile:
    """Of `model`, whose artefact under `plan` lies in `folder`."""
    parts, kinds = take_apart(model, plan, batch)
    latency_ms = latency.absolute_latency(find_runtime(target.runtime).open(folder, target), batch, target)
    shares = _shares(folder, batch, target, kinds)
    by_kind: dict[Kind, list[Part]] = defaultdict(list)
    for part in parts:
        by_kind[part.kind].append(part)
    rows = [
        _row(kind, by_kind[kind], speeds, None if shares is None else shares[kind] * latency_ms, latency_ms)
        for kind in KINDS if by_kind[kind] or (shares and shares[kind])
    ]  # fmt: skip
    return Profile(
        model=name, target=target, machine=fingerprint.machine(target.device),
        size_mb=latency.size_mb(find_runtime(target.runtime).artefact(folder)),
        all=_row("all", parts, speeds, latency_ms, latency_ms), kinds=tuple(rows), speeds=speeds,
        savings=tuple(savings(model, parts, shares, speeds, target)),
    )  # fmt: skip


def _shares(folder: Path, batch: Batch, target: Target, kinds: Kinds) -> dict[Kind, float] | None:
    """Of each kind of layer, as the runtime times its pieces. None if this runtime cannot."""
    trace = find_tracer(target.runtime)
    seconds: dict[Kind, float] = defaultdict(float)
    try:
        with quiet():
            pieces = trace(folder, target, batch) if trace else []
    except NotApplicable:
        pieces = []
    if not pieces:
        return None
    for piece in pieces:
        seconds[kinds.of(piece.path, piece.operator)] += piece.seconds
    return {kind: seconds[kind] / sum(seconds.values()) for kind in KINDS}


def _row(
    kind: Kind | Literal["all"], parts: Iterable[Part], speeds: Speeds, latency_ms: float | None, whole_ms: float
) -> Row:
    held = list(parts)
    flops, moved = sum(p.flops for p in held), sum(p.moved for p in held)
    needed_ms = sum(p.flops / _speed(p, speeds) for p in held) / 1e6
    ridge = flops / (needed_ms * 1e6) / speeds.memory if flops else 0.0
    return Row(
        kind=kind, parameters=sum(p.parameters for p in held), bytes=sum(p.bytes for p in held),
        multiply_adds=flops / 2, latency_ms=latency_ms, share=None if latency_ms is None else latency_ms / whole_ms,
        flops_per_byte=flops / moved if flops else None,
        bound=("compute" if flops / moved >= ridge else "memory") if flops else None,
        needed_ms=needed_ms, gflops=flops / latency_ms / 1e6 if latency_ms and flops else None,
        times_needed=latency_ms / needed_ms if latency_ms and flops else None,
    )  # fmt: skip


def _speed(part: Part, speeds: Speeds) -> float:
    """Of the kernel that this part runs on."""
    return speeds.int8 if part.integer and speeds.int8 else speeds.float32
