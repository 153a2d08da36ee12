"""Let blocks of `block` tokens attend to themselves, their neighbours, the first `first` blocks and `drawn` others.

Tokens of the first blocks attend to all. Which others a block reads is drawn once, by its number.

Zaheer et al. 2020, "Big Bird: Transformers for Longer Sequences", arXiv:2007.14062 (blocks of 64, 2 global, 3 random,
for texts of 4,096). Departures: the draw is the same in all layers and heads, and follows the number of blocks that a
text has, so that one artefact serves texts of any length. Relative positions in scores (MPNet, T5, DeBERTa) are added
as before, for the pairs that are left; of T5 the attention to the other stack stays whole.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from autocompress.methods.context import Context
from autocompress.models import attentions
from autocompress.models.attentions.block_sparse import BlockPattern
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage


class BlockSparse(Method):
    """For long texts: a few paths lead from anywhere to anywhere, which a window lacks."""

    stage: ClassVar[Stage] = "structure"
    pays: ClassVar[tuple[Gain, ...]] = ("latency",)

    block: Annotated[int, Field(ge=1, le=1024), Choice((16, 32, 64))] = 32
    first: Annotated[int, Field(ge=0, le=8)] = 1
    drawn: Annotated[int, Field(ge=0, le=8), Choice((1, 2, 3))] = 2

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        attentions.install(model, BlockPattern(self.block, self.first, self.drawn))
        return model
