"""What goes into layers while calibration texts are read, and the range of it that 256 codes should cover."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal
from weakref import ref

import torch
from torch import Tensor, nn

from autocompress.models.forward import CPU, fetched, forward, placed
from autocompress.tasks.dataset import Batch

Observer = Literal["minmax", "percentile", "entropy"]
_BINS, _LEVELS = 2048, 128  # of a histogram of |x|, and of the quantized distribution that it is compared with
_PERCENTILE = 0.9999


@dataclass
class Seen:
    """Of one layer's input over all tokens: the least and the largest of every channel, and which tensor it was."""

    low_I: Tensor
    high_I: Tensor
    source: int  # equal for layers that read the same tensor


def observe(
    model: nn.Module, paths: Collection[str], batches: list[Batch], device: torch.device = CPU
) -> dict[str, Seen]:
    """The inputs of the layers at `paths`. Padded tokens do not count."""
    found: dict[str, Seen] = {}
    tensors: list[ref[Tensor]] = []  # of the first batch; one that is gone is no other's twin

    def look(path: str, x: Tensor, x_NI: Tensor) -> None:
        low_I, high_I = x_NI.amin(0), x_NI.amax(0)
        if path in found:
            low_I, high_I = torch.minimum(low_I, found[path].low_I), torch.maximum(high_I, found[path].high_I)
            found[path].low_I, found[path].high_I = low_I, high_I
            return
        source = next((i for i, known in enumerate(tensors) if known() is x), len(tensors))
        tensors.append(ref(x))
        found[path] = Seen(low_I, high_I, source)

    watch(model, paths, batches, look, device)
    return found


@torch.no_grad()
def watch(
    model: nn.Module,
    paths: Collection[str],
    batches: list[Batch],
    look: Callable[[str, Tensor, Tensor], None],
    device: torch.device,
) -> None:
    """Run the batches on `device`, and call `look(path, input, rows)` for every layer at `paths`.

    `rows` (N, I) are the input's without padding, on the CPU.
    """
    model.eval()
    mask_BT: Tensor | None = None

    def hook_for(path: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
        def hook(module: nn.Module, args: tuple[Tensor]) -> None:
            x = args[0]
            here, padded = fetched(x), mask_BT is not None and x.shape[:-1] == mask_BT.shape
            look(path, x, here[mask_BT] if padded else here.flatten(0, -2))

        return hook

    handles = [model.get_submodule(path).register_forward_pre_hook(hook_for(path)) for path in paths]
    try:
        with placed(model, device):
            for batch in batches:
                mask_BT = batch["attention_mask"].bool() if "attention_mask" in batch else None
                forward(model, batch, frozenset({"logits"}))
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class Moments:
    """Of one tensor that layers read: the sum over tokens of x xᵀ, and the mean of |x|."""

    H_II: Tensor
    size_I: Tensor
    tokens: int = 0


def moments(
    model: nn.Module, seen: Mapping[str, Seen], batches: list[Batch], device: torch.device = CPU
) -> dict[str, Moments]:
    """By path. Layers that read one tensor have one `Moments` between them."""
    first = _readers(seen)
    found = {
        path: Moments(torch.zeros(len(seen[path].low_I), len(seen[path].low_I)), torch.zeros(())) for path in first
    }

    def look(path: str, x: Tensor, x_NI: Tensor) -> None:
        one = found[path]
        one.H_II += x_NI.T @ x_NI
        one.size_I, one.tokens = one.size_I + x_NI.abs().sum(0), one.tokens + len(x_NI)

    watch(model, first, batches, look, device)
    for one in found.values():
        one.size_I /= one.tokens
    by_source = {seen[path].source: one for path, one in found.items()}
    return {path: by_source[one.source] for path, one in seen.items()}


def shares(model: nn.Module, seen: Mapping[str, Seen]) -> list[dict[str, Seen]]:
    """The layers in groups whose moments take no more memory than half the model, one group being looked at a time.

    Those that read one tensor stay together; the widest of them may be more by itself.
    """
    room = sum(p.numel() for p in model.parameters()) // 2
    groups: list[dict[str, Seen]] = [{}]
    taken = 0
    for first in _readers(seen):
        needed = len(seen[first].low_I) ** 2
        if groups[-1] and taken + needed > room:
            groups.append({})
            taken = 0
        groups[-1] |= {path: one for path, one in seen.items() if one.source == seen[first].source}
        taken += needed
    return groups


def _readers(seen: Mapping[str, Seen]) -> list[str]:
    """The path of one layer for each tensor that is read."""
    first: dict[int, str] = {}
    for path, one in seen.items():
        first.setdefault(one.source, path)
    return list(first.values())


def ranges(
    observer: Observer,
    model: nn.Module,
    seen: Mapping[str, Seen],
    batches: list[Batch],
    smooth: Mapping[str, Tensor],
    device: torch.device = CPU,
) -> dict[str, tuple[Tensor, Tensor]]:
    """By path (low, high) of the input, divided by `smooth` where that is given. Layers of one source have one range.

    `minmax` covers all that was seen. `percentile` leaves out the 0.01 % that are largest by their absolute value.
    `entropy` cuts where the quantized distribution differs least from the real one (Kullback-Leibler; Migacz 2017).
    """
    ends = {path: _ends(one, smooth.get(path)) for path, one in seen.items()}
    if observer == "minmax":
        return ends
    most = {path: max(-ends[path][0].item(), ends[path][1].item(), 1e-12) for path in _readers(seen)}
    counts = {path: torch.zeros(_BINS) for path in most}

    def look(path: str, x: Tensor, x_NI: Tensor) -> None:
        x_NI = x_NI / smooth[path] if path in smooth else x_NI
        counts[path] += torch.histc(x_NI.abs(), _BINS, 0, most[path])

    watch(model, most, batches, look, device)
    cut = percentile_bin if observer == "percentile" else entropy_bin
    limit = {seen[path].source: most[path] * cut(counts_N) / _BINS for path, counts_N in counts.items()}
    limits = {path: limit[one.source] for path, one in seen.items()}
    return {path: (low.clamp_min(-limits[path]), high.clamp_max(limits[path])) for path, (low, high) in ends.items()}


def _ends(one: Seen, smooth_I: Tensor | None) -> tuple[Tensor, Tensor]:
    divisor = torch.ones(()) if smooth_I is None else smooth_I
    return (one.low_I / divisor).amin(), (one.high_I / divisor).amax()


def percentile_bin(counts_N: Tensor) -> int:
    """How many bins hold all but 0.01 % of what was counted."""
    reached_N = counts_N.double().cumsum(0) / counts_N.double().sum()
    return int((reached_N < _PERCENTILE).sum()) + 1


def entropy_bin(counts_N: Tensor) -> int:
    """How many bins to keep so that P, with the rest clipped into the last of them, is nearest to P on 128 levels."""
    best, least = _BINS, float("inf")
    for kept in range(_LEVELS, _BINS + 1, _LEVELS // 8):
        p_K = counts_N[:kept].clone()
        filled_K = p_K > 0
        level_K = torch.arange(kept) * _LEVELS // kept
        sums_L = torch.zeros(_LEVELS).index_add(0, level_K, p_K)
        bins_L = torch.zeros(_LEVELS).index_add(0, level_K, filled_K.float())
        q_K = torch.where(filled_K, (sums_L / bins_L.clamp_min(1))[level_K], 0.0)
        p_K[-1] += counts_N[kept:].sum()
        divergence = _divergence(p_K, q_K)
        if divergence < least:
            best, least = kept, divergence
    return best


def _divergence(p_K: Tensor, q_K: Tensor) -> float:
    """KL(P || Q) of two histograms; a bin that only P has counts as one with next to nothing in Q."""
    p_K, q_K = p_K / p_K.sum(), (q_K / q_K.sum()).clamp_min(1e-8)
    return float((p_K * (p_K.clamp_min(1e-30) / q_K).log()).sum())
