"""Read only the beginning of texts that are longer than most: the model itself cuts them.

The length is what `percentile` of the training texts have at most, in tokens, no more than `max_length`, rounded up to
a multiple of 8. Where no training text, and no text of the target's, is longer, nothing is cut.

Dai et al. 2020 ("Funnel-Transformer", arXiv:2006.03236) and others keep whole texts and pool tokens; cutting is what
Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?", arXiv:1905.05583, compare with: head-only cutting
costs little on reviews. Padding to the longest text of a batch only, and batches of like length, are always on and no
method.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.models.truncation import NAME, Truncation, truncate
from autocompress.space.distributions import Neutral, Range
from autocompress.space.method import Gain, Method, Stage


class SequenceLength(Method):
    """Latency in proportion to what is cut off, for texts that say early what they are about."""

    stage: ClassVar[Stage] = "structure"
    pays: ClassVar[tuple[Gain, ...]] = ("latency",)
    uses_corpus: ClassVar[bool] = True

    percentile: Annotated[float, Field(gt=0, le=100), Range(25.0, 95.0), Neutral(100)] = 75.0
    max_length: Annotated[int, Field(ge=8, le=8192)] = 512

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        if not ctx.kind.remembers:
            raise NotApplicable("this task asks for an answer to every token: none may be cut off")
        lengths = ctx.corpus().lengths_N.float()
        tokens = int(torch.quantile(lengths[:1_000_000], self.percentile / 100).ceil())
        tokens = min(-(-tokens // 8) * 8, self.max_length)
        if tokens >= max(int(lengths.max()), ctx.target.sequence_length):
            raise NotApplicable(
                f"{tokens} tokens cut none of the training texts, the longest of which has {int(lengths.max())}"
            )
        if hasattr(model, NAME):
            raise NotApplicable("sequence_length stands twice: texts are cut once")
        model.add_module(NAME, Truncation(tokens))
        truncate(model)
        return model
