"""Embedding tables that are kept as something smaller, each in the place of an `nn.Embedding`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autocompress.models.factored.linears import Train


class MappedEmbedding(nn.Module):
    """A table of fewer rows than there are ids: `row_of` (V,) says which row is read for each."""

    row_of: Tensor

    def __init__(self, ids: int, rows: int, width: int) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = ids, width
        self.register_buffer("row_of", torch.zeros(ids, dtype=torch.int32))
        self.table = nn.Embedding(rows, width)

    def forward(self, ids_BT: Tensor) -> Tensor:
        return self.table(self.row_of[ids_BT].long())  # type: ignore[no-any-return]


class NarrowEmbedding(nn.Module):
    """A narrow table (V, E), and a linear layer that makes its rows wide: (E -> D)."""

    def __init__(self, ids: int, inner: int, width: int) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = ids, width
        self.table: nn.Embedding | MappedEmbedding = nn.Embedding(ids, inner)
        self.up = nn.Linear(inner, width, bias=False)

    def forward(self, ids_BT: Tensor) -> Tensor:
        return self.up(self.table(ids_BT))  # type: ignore[no-any-return]


class TensorTrainEmbedding(nn.Module):
    """A table whose matrix is a tensor train, of v1···vd rows of which the first V are read, a row at a time."""

    def __init__(self, ids: int, rows: Sequence[int], widths: Sequence[int], ranks: Sequence[int]) -> None:
        super().__init__()
        self.num_embeddings = ids
        self.train_of = Train(rows, widths, ranks)
        self.embedding_dim = 1
        for width in widths:
            self.embedding_dim *= width

    def forward(self, ids_BT: Tensor) -> Tensor:
        flat = ids_BT.reshape(-1)
        digits: list[Tensor] = []
        for size in reversed(self.train_of.outs):
            above = torch.div(flat, size, rounding_mode="trunc")  # one operator when exported; `%` is nine
            digits.append(flat - above * size)
            flat = above
        y_NDr: Tensor | None = None
        for core, digit in zip(self.train_of.cores, reversed(digits), strict=True):
            slices = core.permute(1, 0, 2, 3)[digit]  # (N, r, width, s)
            _, r, w, s = slices.shape
            if y_NDr is None:
                y_NDr = slices.reshape(-1, w, s)
            else:
                y_NDr = (y_NDr @ slices.reshape(-1, r, w * s)).reshape(-1, y_NDr.shape[1] * w, s)
        assert y_NDr is not None
        return y_NDr.reshape(*ids_BT.shape, self.embedding_dim)


WRAPPED = (MappedEmbedding, NarrowEmbedding)  # what holds a table of its own
TABLES = (nn.Embedding, *WRAPPED, TensorTrainEmbedding)
