"""Students with fewer numbers a token: in the embeddings, and in what every layer gives.

A layer's units are its own, so which ones go is chosen layer by layer, by what reads them. The result is of a stock
shape, and any layer of it can be dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.models.stream import narrow, tables_of
from autocompress.models.surgery import best, keep_inputs


def narrow_student(model: Any, width: int, score: Callable[[list[nn.Module]], list[Tensor]]) -> None:
    """Leave a student `width` numbers, which are even. `score`: how much what each of some products reads matters."""
    layers = list(getattr(model, "layers", []))
    readers = [layer.readers() for layer in layers] + [[(model.classifier, 1)]]
    found = iter(score([product for products in readers for product, _ in products]))
    scores = [torch.stack([next(found).view(each, -1).sum(0) for _, each in products]).sum(0) for products in readers]
    counts = [[width], *(layer.gives(width) for layer in layers)]
    kept = [_best_of_parts(*each) for each in zip(scores, counts, strict=True)]
    narrow(model, tables_of(model), kept[0][0])
    whole = [_joined(parts, len(each)) for parts, each in zip(kept, scores, strict=True)]
    for i, layer in enumerate(layers):
        layer.keep(whole[i], kept[i + 1])
    keep_inputs(model.classifier, whole[-1])
    model.config.hidden_size = width


def _best_of_parts(scores: Tensor, counts: list[int]) -> list[Tensor]:
    """Of each of the equal parts the places of so many with the highest scores, counted within the part."""
    return [best(part, count) for part, count in zip(scores.chunk(len(counts)), counts, strict=True)]


def _joined(parts: list[Tensor], total: int) -> Tensor:
    """The same as places among all."""
    return torch.cat([part + i * (total // len(parts)) for i, part in enumerate(parts)])
