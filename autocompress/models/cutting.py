"""Cutting parts out of a model where its family keeps them: really, never by masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.models.families.anatomy import Attention, FeedForward, Projection, Stack, anatomy
from autocompress.models.surgery import features, keep_inputs, keep_outputs, product


def spread(count: int, chosen: int) -> list[int]:
    """So many of `count`, evenly spaced, the first and the last among them; some twice if there are too few."""
    return [round(i * (count - 1) / max(1, chosen - 1)) for i in range(chosen)]


def recount_heads(model: nn.Module) -> None:
    """Make every attention's own numbers agree with the rows that its query has. No family, no attention: nothing."""
    try:
        attentions = anatomy(model).attentions
    except NotApplicable:
        return
    counters = anatomy(model).family.counters
    for attention in attentions:
        counts = {
            "heads": attention.heads, "width": attention.heads * attention.head_size,
            "group": attention.heads // attention.kv_heads,
        }  # fmt: skip
        module = model.get_submodule(attention.path)
        for name, what in counters.items():
            if hasattr(module, name):
                setattr(module, name, counts[what])


def drop_blocks(model: Any, stack: Stack, kept: list[int]) -> None:
    """Drop all layers of a stack but those in `kept`, and say so in the config."""
    anatomy(model).family.before_drop(model, stack, kept)
    layers = model.get_submodule(stack.path)
    for i in reversed(range(len(layers))):
        if i not in kept:
            del layers[i]
    for i, layer in enumerate(layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):  # a cache of keys and values goes by it
                module.layer_idx = i
    setattr(model.config, stack.depth, len(kept))


def keep_projected(model: nn.Module, rows: Mapping[Projection, Tensor]) -> None:
    """Shrink projections in place to the outputs in `rows`. Of a fused product, all parts must be given."""
    kept: dict[str, dict[int, Tensor]] = {}
    for projection, index in rows.items():
        size = features(product(model, projection.path))[1] // projection.parts
        kept.setdefault(projection.path, {})[projection.part] = index + projection.part * size
    for path, parts in kept.items():
        keep_outputs(product(model, path), torch.cat([parts[i] for i in sorted(parts)]))


def cut_heads(model: nn.Module, attention: Attention, units: Tensor) -> None:
    """Cut every head (or group of heads that share a key) out of an attention that is not in `units`.

    What counts heads is to be told afterwards: see `recount_heads`.
    """
    group, size = attention.heads // attention.units, attention.head_size
    queries, keys = _rows(units, group * size), _rows(units, size)
    shared = attention.units != attention.kv_heads  # one key and value for all: they stay
    rows = {attention.q: queries} | ({} if shared else {attention.k: keys, attention.v: keys})
    rows |= {projection: queries if role == "q" else keys for projection, role in attention.more}
    keep_projected(model, rows)
    keep_inputs(product(model, attention.o), queries)


def cut_neurons(model: nn.Module, ffn: FeedForward, neurons: Tensor) -> None:
    """Cut every neuron that is not in `neurons` out of a feed-forward."""
    keep_projected(model, dict.fromkeys(ffn.ins, neurons))  # a gate and what it is multiplied with lose the same rows
    keep_inputs(product(model, ffn.down), neurons)


def _rows(units: Tensor, size: int) -> Tensor:
    """The rows of units of `size` rows each."""
    return (units[:, None] * size + torch.arange(size)).flatten()
