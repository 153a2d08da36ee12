"""Make the model narrower: fewer numbers a token, in embeddings, norms and all that reads or writes them.

round(keep · D) numbers stay, in multiples of `multiple`: those with the highest importance, summed over all products
that read the stream. Heads and feed-forwards keep their own widths. The students' layers (LSTM, GRU, convolution) hand
on units of their own: of each layer, and of each way and filter width, those stay that matter most to what reads them.

- `taylor`: Σ_x |a_i · ∂L/∂a_i| over the texts x of the calibration batches (arXiv:1611.06440).
- `l2`: the norms of the columns that read the number. Needs no data.

Xia et al. 2022, arXiv:2204.00408 (there with gates; most of their models keep over 90 %), and Muralidharan et al. 2024,
"Compact Language Models via Pruning and Knowledge Distillation" (Minitron), arXiv:2407.14679 (by activations). A norm
averages over fewer numbers afterwards, so it is not what masking would give: train.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.methods.importance import Importance, score
from autocompress.models.families.anatomy import anatomy
from autocompress.models.stream import narrow, stream, width_of
from autocompress.models.students.narrower import narrow_student
from autocompress.models.surgery import best, product
from autocompress.space.distributions import Choice, Neutral, Range
from autocompress.space.method import Gain, Method, Stage


class Hidden(Method):
    """Everything becomes smaller, the embeddings too. Costs much quality at once; wants a long finetune after it."""

    stage: ClassVar[Stage] = "structure"
    pays: ClassVar[tuple[Gain, ...]] = ("latency", "bytes")

    keep: Annotated[float, Field(gt=0, lt=1), Range(0.5, 0.9), Neutral(1)] = 0.75
    importance: Annotated[Importance, Choice(("taylor", "l2"))] = "taylor"
    multiple: Literal[1, 8, 16, 32] = 8

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        width = width_of(model)
        target = self.multiple * max(1, round(self.keep * width / self.multiple))
        own = not any(block.attentions for block in anatomy(model).blocks)
        if own:
            target = max(2, target // 2 * 2)  # half of it a way
        if target >= width:
            raise NotApplicable(f"keep={self.keep:g} of a width of {width} removes none")
        if own:
            narrow_student(model, target, lambda readers: score(self.importance, model, readers, ctx))
            return model
        found = stream(model)
        readers = [product(model, path) for path in found.readers]
        scores = torch.stack(score(self.importance, model, readers, ctx)).sum(0)
        narrow(model, found, best(scores, target))
        return model
