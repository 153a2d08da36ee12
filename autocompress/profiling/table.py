"""A profile as rows of text, and as the sentence that sums it up."""

from __future__ import annotations

from collections.abc import Iterator

from autocompress.profiling.profile import Profile

KIND_COLUMNS = ("kind", "parameters", "MB", "multiply-adds", "ms", "share")
ROOF_COLUMNS = ("kind", "ops/byte", "bound", "GFLOP/s", "ms", "needs", "times")
SAVING_COLUMNS = ("family", "of", "time saved", "speedup", "MB saved", "smaller")


def kind_rows(profile: Profile) -> Iterator[tuple[str, ...]]:
    """What each kind of layer holds, multiplies and takes; last the whole."""
    for row in (*profile.kinds, profile.all):
        yield (
            row.kind, _short(row.parameters), f"{row.bytes / 1e6:.1f}", _short(row.multiply_adds),
            _number(row.latency_ms, ".2f"), _number(row.share, ".1%"),
        )  # fmt: skip


def roof_rows(profile: Profile) -> Iterator[tuple[str, ...]]:
    """Of what multiplies: the ceiling above it, how near it comes, and what its multiply-adds need."""
    for row in (*profile.kinds, profile.all):
        if row.flops_per_byte is not None:
            yield (
                row.kind, f"{row.flops_per_byte:.1f}", str(row.bound), _number(row.gflops, ".1f"),
                _number(row.latency_ms, ".2f"), f"{row.needed_ms:.2f}", _number(row.times_needed, ".2f"),
            )  # fmt: skip


def saving_rows(profile: Profile) -> Iterator[tuple[str, ...]]:
    """What each family could save at most."""
    whole = profile.all.bytes / 1e6
    for saving in profile.savings:
        family = saving.family if saving.exists else f"({saving.family})"
        yield (
            family, saving.what, _number(saving.latency, ".1%"), _times(saving.latency),
            f"{whole * saving.bytes:.1f}", _times(saving.bytes),
        )  # fmt: skip


def sentences(profile: Profile) -> list[str]:
    """What was measured where, and the whole against the speed of its products."""
    target, whole, speeds = profile.target, profile.all, profile.speeds
    texts = "one text" if target.batch_size == 1 else f"{target.batch_size} texts"
    threads = "one thread" if target.threads == 1 else f"{target.threads} threads"
    int8 = f" in float32 and {speeds.int8:.0f} in 8 bits" if speeds.int8 else " in float32"
    lines = [
        f"{profile.model} on {target.runtime}, {target.device}, {threads}, {texts} of {target.sequence_length} tokens: "
        f"{whole.latency_ms:.2f} ms, {profile.size_mb:.1f} MB.",
        f"Matrix products alone run here at {speeds.float32:.0f} GFLOP/s{int8}; memory moves {speeds.memory:.0f} GB/s.",
        f"At that speed its multiply-adds need {whole.needed_ms:.2f} ms: it takes {whole.times_needed:.2f} times that.",
    ]
    if any(row.share is None for row in profile.kinds):
        lines.append(f"The {target.runtime} runtime does not tell what its pieces take: no latency by kind.")
    return lines


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _short(count: float) -> str:
    """`11.9 M`: three digits and a unit of thousands."""
    units = iter(("", " k", " M", " G", " T"))
    unit = next(units)
    while count >= 999.5 and unit != " T":
        count, unit = count / 1000, next(units)
    return f"{count:.3g}{unit}"


def _times(saved: float | None) -> str:
    """By what a whole shrinks of which this share goes."""
    if saved is None:
        return ""
    return f"{1 / (1 - saved):#.3g}x".replace(".x", "x") if saved < 0.999 else "all of it"
