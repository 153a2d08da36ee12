"""A table of fewer rows than there are ids, with a map from the ones to the others."""

from __future__ import annotations

from typing import Any

from torch import nn

from autocompress.models.factored.tables import MappedEmbedding

PLACE = "embedding table"


def describe(module: nn.Module) -> dict[str, Any] | None:
    if not isinstance(module, MappedEmbedding):
        return None
    rows = getattr(module.table, "num_embeddings", 0)
    return {"ids": module.num_embeddings, "rows": rows, "width": module.embedding_dim}


def fits(stock: nn.Module | None) -> bool:
    return isinstance(stock, nn.Embedding)


def make(entry: dict[str, Any], stock: nn.Module | None) -> nn.Module | None:
    match entry:
        case {"ids": int(ids), "rows": int(rows), "width": int(width)} if min(ids, rows, width) > 0:
            return MappedEmbedding(ids, rows, width)
    return None
