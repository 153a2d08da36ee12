"""A table of another shape than the stock one's: fewer words, or a column less a head."""

from __future__ import annotations

from typing import Any

from torch import nn

PLACE = "embedding table"


def describe(module: nn.Module) -> dict[str, Any] | None:
    if not isinstance(module, nn.Embedding):
        return None
    return {"rows": module.num_embeddings, "width": module.embedding_dim}


def fits(stock: nn.Module) -> bool:
    return isinstance(stock, nn.Embedding)


def make(entry: dict[str, Any], stock: nn.Module) -> nn.Module | None:
    match entry:
        case {"rows": int(rows), "width": int(width)} if min(rows, width) > 0 and isinstance(stock, nn.Embedding):
            padding = stock.padding_idx if stock.padding_idx is not None and stock.padding_idx < rows else None
            return nn.Embedding(rows, width, padding)
    return None
