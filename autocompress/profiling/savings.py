"""What each family of methods could save at most: bounds that follow from the measured shares, not promises.

A bound is what would be gone if the method took all that it can act on and cost nothing itself. The score is not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import nn

from autocompress.models.families.places import stacks
from autocompress.profiling.kinds import IN_LAYERS, Kind
from autocompress.profiling.parts import Part
from autocompress.profiling.speeds import Speeds
from autocompress.space.method import methods
from autocompress.space.settings import Settings, Target

_LINEARS: frozenset[Kind] = frozenset(("attention projections", "feed-forward"))
_ATTENTION: frozenset[Kind] = frozenset(("attention projections", "attention products"))
_PRODUCTS: frozenset[Kind] = _LINEARS | {"head"}
_MATRICES: frozenset[Kind] = _PRODUCTS | {"embeddings"}
_FEED_FORWARD: frozenset[Kind] = frozenset(("feed-forward", "activations"))


class Saving(Settings):
    """`latency` and `bytes` are shares of the whole. `exists`: whether the catalogue has this family already."""

    family: str
    what: str
    latency: float | None
    bytes: float
    exists: bool


class _Facts(NamedTuple):
    """What the bounds are made of."""

    model: nn.Module
    parts: list[Part]
    shares: dict[Kind, float] | None
    speeds: Speeds
    target: Target

    def time(self, kinds: Iterable[Kind]) -> float | None:
        """Their share of the latency."""
        return None if self.shares is None else sum(self.shares[kind] for kind in kinds)

    def bytes(self, kinds: Iterable[Kind]) -> float:
        """Their share of the bytes."""
        return self.saved(kinds, lambda part: 0.0)

    def saved(self, kinds: Iterable[Kind], left: Callable[[Part], float]) -> float:
        """What goes, as a share of all bytes, if each part of these kinds keeps so many; none grows."""
        chosen = set(kinds)
        gone = sum(max(part.bytes - left(part), 0.0) for part in self.parts if part.kind in chosen)
        return gone / sum(part.bytes for part in self.parts)


def savings(
    model: nn.Module, parts: list[Part], shares: dict[Kind, float] | None, speeds: Speeds, target: Target
) -> list[Saving]:
    """Of every family that there is or that is planned."""
    facts, known = _Facts(model, parts, shares, speeds, target), {method.family for method in methods().values()}
    rows = [
        ("pruning", "all layers", facts.time(IN_LAYERS), facts.bytes(IN_LAYERS)),
        ("pruning", "all heads", facts.time(_ATTENTION), facts.bytes(_ATTENTION)),
        ("pruning", "all neurons", facts.time(_FEED_FORWARD), facts.bytes(_FEED_FORWARD)),
        ("decomposition", "all linears", facts.time(_LINEARS), facts.bytes(_LINEARS)),
        ("quantization", "all to 8 bits", _rounding(facts, 8), facts.saved(_MATRICES, _in_bits(8))),
        ("quantization", "all to 4 bits", _rounding(facts, 4), facts.saved(_MATRICES, _in_bits(4))),
        ("quantization", "tables to 4 bits", 0.0, facts.saved(["embeddings"], _in_bits(4))),
        ("sharing", "one layer only", 0.0, facts.bytes(IN_LAYERS) * _repeated(model)),
        ("attention", "all its products", facts.time(["attention products"]), 0.0),
        ("distillation", "wins back score", 0.0, 0.0),
    ]
    return [
        Saving(family=family, what=what, latency=latency, bytes=held, exists=family in known)
        for family, what, latency, held in rows
    ]


def _rounding(facts: _Facts, bits: int) -> float | None:
    """What the products save if they run at the speed of 8-bit ones, or where they wait for memory, by reading less.

    Weights of 4 bits are multiplied as 8-bit numbers, so the first holds for them too.
    """
    if facts.shares is None:
        return None
    speeds, left = facts.speeds, _in_bits(bits)

    def gain(part: Part) -> float:
        sooner = 1 - speeds.float32 / speeds.int8 if speeds.int8 and not part.integer else 0.0
        lighter = (part.bytes - left(part)) / part.moved if part.flops / part.moved < speeds.ridge else 0.0
        return min(max(sooner, lighter, 0.0), 1.0)

    total = 0.0
    for kind in _PRODUCTS:
        parts = [part for part in facts.parts if part.kind == kind and part.flops]
        flops = sum(part.flops for part in parts)
        total += facts.shares[kind] * sum(part.flops * gain(part) for part in parts) / max(flops, 1)
    return total


def _in_bits(bits: int) -> Callable[[Part], float]:
    """What a part would take. Scales are not counted."""
    return lambda part: part.parameters * bits / 8


def _repeated(model: nn.Module) -> float:
    """Which share of the layers is all but the first of their stack."""
    depths = [len(model.get_submodule(path)) for path in stacks(model)]  # type: ignore[arg-type]
    return 1 - len(depths) / sum(depths) if depths else 0.0
