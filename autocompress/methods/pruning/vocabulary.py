"""Drop the rows of token ids that training texts hardly ever use; each such id reads the most similar row that is left.

Ids that occur at least `min_count` times in the training split stay, and the special ones, and those of a single
character or byte, of which every other text is made. A dropped id gets the row with the nearest direction (cosine); the
map costs four bytes an id.

Yang et al. 2022, "TextPruner", arXiv:2203.15996 (vocabulary pruning: 62 % of XLM-R at no loss on one language); Abdaoui
et al. 2020, "Load What You Need", arXiv:2010.05609. Departure: the tokenizer stays what it is, for texts are tokenised
once for teacher and students, and an exported model reads what the checkpoint's own tokenizer gives; so an unseen word
is read as a like one and not spelled anew.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.models.factored.tables import MappedEmbedding, NarrowEmbedding
from autocompress.models.surgery import plain_table, replace_table
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage

_AT_A_TIME = 4096  # dropped ids


class Vocabulary(Method):
    """Most of a small model's bytes, at no latency and hardly any loss: the larger the vocabulary, the more."""

    stage: ClassVar[Stage] = "structure"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes",)
    uses_corpus: ClassVar[bool] = True

    min_count: Annotated[int, Field(ge=1), Choice((1, 2, 4))] = 1

    @torch.no_grad()
    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        if writes_tokens(model):
            raise NotApplicable("this model writes tokens too: it needs every one of them")
        outer = [(path, m) for path, m in model.named_modules() if isinstance(m, NarrowEmbedding)]
        paths, table, mapped = ([], outer[0][1].table, None) if outer else plain_table(model)
        if mapped or not isinstance(table, nn.Embedding):
            raise NotApplicable("the vocabulary of this model is cut already")
        kept = kept_ids(table.num_embeddings, ctx, self.min_count, table.padding_idx)
        if len(kept) == table.num_embeddings:
            raise NotApplicable(f"all {len(kept)} tokens occur {self.min_count} times in the training texts")
        small = MappedEmbedding(table.num_embeddings, len(kept), table.embedding_dim)
        small.table.weight.copy_(table.weight[kept])
        small.row_of.copy_(nearest_rows(table.weight, kept))
        if outer:
            outer[0][1].table = small
        else:
            replace_table(model, paths, small)
        return model


def writes_tokens(model: Any) -> bool:
    """Whether it has a score for every token."""
    output = model.get_output_embeddings()
    return getattr(output, "weight", None) is not None


def kept_ids(ids: int, ctx: Context, least: int, padding: int | None) -> Tensor:
    """The ids that stay, ascending."""
    corpus = ctx.corpus()
    counts = F.pad(corpus.counts_V, (0, max(0, ids - len(corpus.counts_V))))[:ids]
    stay = counts >= least
    always = [*corpus.special, *([] if corpus.mask is None else [corpus.mask]), *([] if padding is None else [padding])]
    stay[torch.tensor([i for i in always if i < ids], dtype=torch.long)] = True
    return torch.where(stay)[0]


def nearest_rows(W_VD: Tensor, kept_K: Tensor) -> Tensor:
    """Which row of W[kept] each id reads: its own, or that whose cosine with it is the largest. (V,), int32."""
    rows = torch.empty(len(W_VD), dtype=torch.int32)
    rows[kept_K] = torch.arange(len(kept_K), dtype=torch.int32)
    dropped = torch.ones(len(W_VD), dtype=torch.bool)
    dropped[kept_K] = False
    left_KD = F.normalize(W_VD[kept_K], dim=-1)
    for some in torch.split(torch.where(dropped)[0], _AT_A_TIME):
        rows[some] = (F.normalize(W_VD[some], dim=-1) @ left_KD.T).argmax(-1).to(torch.int32)
    return rows
