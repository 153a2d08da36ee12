"""Let the matrix that writes tokens be the table that reads them: input and output embeddings are one.

Starts as the mean of both, weighted alike. Press & Wolf 2016, "Using the Output Embedding to Improve Language Models",
arXiv:1608.05859; Inan et al. 2016, arXiv:1611.01462. For language models that were trained with two tables; what has
one already, or none that writes, is refused.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.space.method import Gain, Method, Stage


class TiedEmbeddings(Method):
    """Bytes of a language model's second table. Train after it."""

    stage: ClassVar[Stage] = "factor"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes",)

    @torch.no_grad()
    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        whole: Any = model
        reads, writes = whole.get_input_embeddings(), whole.get_output_embeddings()
        weight = getattr(writes, "weight", None)
        if weight is None:
            raise NotApplicable(
                "this model writes no tokens: it has one table of embeddings, and no second to tie to it"
            )
        if weight is reads.weight:
            raise NotApplicable("this model's input and output embeddings are one already")
        if weight.shape != reads.weight.shape:
            raise NotApplicable("this model's input and output embeddings are of different shapes")
        reads.weight.copy_((reads.weight + weight) / 2)
        writes.weight = reads.weight
        whole.config.tie_word_embeddings = True
        return model
