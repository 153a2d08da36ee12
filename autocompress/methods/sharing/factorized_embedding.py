"""Write the table of token embeddings (V x D) as a narrow table (V x E) and a matrix (E x D).

E = `width`; both start as the truncated SVD of the table, in which frequent tokens weigh more: row i by the square root
of how often it occurs in the training texts, plus one. Of a table whose vocabulary was cut, what is left of it is
written so.

Lan et al. 2019, "ALBERT", arXiv:1909.11942 (E = 128 for every D, trained so from the start); by SVD: Winata et al.
2019, arXiv:1908.09982; weighted by frequency: Chen et al. 2018, "GroupReduce", arXiv:1806.06950, in one group.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.models.factored.linears import truncated_svd
from autocompress.models.factored.tables import MappedEmbedding, NarrowEmbedding
from autocompress.models.surgery import plain_table, replace_table
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage


class FactorizedEmbedding(Method):
    """Most of a small model's bytes are this table. One thin product a token more."""

    stage: ClassVar[Stage] = "factor"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes",)

    width: Annotated[int, Field(ge=4), Choice((64, 128, 192))] = 128

    @torch.no_grad()
    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        paths, table, mapped = plain_table(model)
        rows, width = table.weight.shape
        if self.width * (rows + width) >= rows * width:
            raise NotApplicable(f"a table of {rows} x {width} is no smaller by way of {self.width} numbers")
        ids = mapped.num_embeddings if mapped else rows
        pair = NarrowEmbedding(ids, self.width, width)
        inner: nn.Embedding | MappedEmbedding = pair.table
        if mapped:
            inner = MappedEmbedding(ids, rows, self.width)
            inner.row_of.copy_(mapped.row_of)
            pair.table = inner
        weight_V = frequencies(ctx, ids, mapped)
        U_VE, V_ED = truncated_svd(table.weight * weight_V[:, None], self.width)
        narrow = inner.table if isinstance(inner, MappedEmbedding) else inner
        narrow.weight.copy_(U_VE / weight_V[:, None])
        pair.up.weight.copy_(V_ED.T)
        replace_table(model, paths, pair)
        return model


def frequencies(ctx: Context, ids: int, mapped: MappedEmbedding | None) -> Tensor:
    """√(1 + how often a row is read) of every row; all alike in a rehearsal, where only shapes matter."""
    if ctx.train is None:
        return torch.ones(int(mapped.table.num_embeddings) if mapped else ids)
    counts = ctx.corpus().counts_V
    counts = F.pad(counts, (0, max(0, ids - len(counts))))[:ids].float()
    if mapped:
        counts = torch.zeros(mapped.table.num_embeddings).index_add(0, mapped.row_of.long(), counts)
    return (1 + counts).sqrt()
