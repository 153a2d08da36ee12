"""Store the table of token embeddings in `bits` bits, packed, one scale for `group_size` adjacent numbers of a row.

Rows are turned into float32 when they are read, so nothing else changes. The table is most of a small model's bytes.

Zafrir et al. 2019, "Q8BERT", arXiv:1910.06188 (8 bits); in groups and with 4 bits: Shen et al. 2019, "Q-BERT",
arXiv:1909.05840, without its training.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from torch import nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.models.precision_plan import Precision
from autocompress.models.surgery import token_tables
from autocompress.space.distributions import Choice, Neutral
from autocompress.space.method import Gain, Method, Stage


class Embedding(Method):
    """Bytes of the table alone, at no latency. Most worth having where the layers are few and the vocabulary large."""

    stage: ClassVar[Stage] = "lower"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes",)

    bits: Annotated[Literal[4, 8], Choice((4, 8)), Neutral(32)] = 8
    group_size: Annotated[Literal[32, 64, 128], Choice((32, 64, 128))] = 32

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        tables = token_tables(model)
        if not tables:
            raise NotApplicable("this model has no embedding table")
        ctx.precision.add(tables, Precision("int4" if self.bits == 4 else "int8", group_size=self.group_size))
        return model
