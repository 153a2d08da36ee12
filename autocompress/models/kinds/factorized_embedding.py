"""A narrow table and what makes its rows wide; the table may have a map from ids to fewer rows."""

from __future__ import annotations

from typing import Any

from torch import nn

from autocompress.models.factored.tables import MappedEmbedding, NarrowEmbedding

PLACE = "embedding table"


def describe(module: nn.Module) -> dict[str, Any] | None:
    if not isinstance(module, NarrowEmbedding):
        return None
    sizes = {"ids": module.num_embeddings, "inner": module.up.in_features, "width": module.up.out_features}
    table = module.table
    return {**sizes, "rows": table.table.num_embeddings} if isinstance(table, MappedEmbedding) else sizes


def fits(stock: nn.Module | None) -> bool:
    return isinstance(stock, nn.Embedding)


def make(entry: dict[str, Any], stock: nn.Module | None) -> nn.Module | None:
    match entry:
        case {"ids": int(ids), "inner": int(inner), "width": int(width)} if min(ids, inner, width) > 0:
            made, rows = NarrowEmbedding(ids, inner, width), entry.get("rows", 0)
            if isinstance(rows, int) and rows > 0:
                made.table = MappedEmbedding(ids, rows, inner)
            return made
    return None
