"""Remove feed-forward neurons: their rows of the up (and gate) projection and their columns of the down projection.

Every layer keeps the same width, keep · F rounded to a `multiple` (at least one multiple), which the config then
states, so that the result is of a stock shape. Which neurons stay:

- `taylor`: the highest Σ_x |a_i · ∂L/∂a_i| over the texts x of the calibration batches, a_i the neuron's output.
- `l2`: the highest norm of the down projection's column. Needs no data.

They go in `rounds` equal rounds, with importance measured anew in between (`l2` does not change between rounds). One
round is the default: on a fine-tuned MiniLM four took four times as long and gained nothing.

Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference", arXiv:1611.06440; in
Transformers: Michel et al. 2019, arXiv:1905.10650. Departure: the width is equal in every layer.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.methods.importance import Importance, rounds_from, score
from autocompress.models.cutting import cut_neurons
from autocompress.models.families.anatomy import anatomy
from autocompress.models.surgery import best, features, product
from autocompress.space.distributions import Neutral, Range
from autocompress.space.method import Gain, Method, Stage


class Neurons(Method):
    """Pays on short texts, where the feed-forwards are two thirds of the time and of the encoder's bytes."""

    stage: ClassVar[Stage] = "structure"
    pays: ClassVar[tuple[Gain, ...]] = ("latency", "bytes")

    keep: Annotated[float, Field(gt=0, lt=1), Range(0.25, 0.84), Neutral(1)] = 0.5
    importance: Importance = "taylor"
    rounds: Annotated[int, Field(ge=1)] = 1
    multiple: Literal[1, 8, 16, 32] = 16

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        found = anatomy(model)
        ffns = found.ffns
        downs = [product(model, ffn.down) for ffn in ffns]
        width = min(features(down)[0] for down in downs)
        target = self.multiple * max(1, round(self.keep * width / self.multiple))
        if target >= width:
            raise NotApplicable(f"keep={self.keep:g} of {width} neurons, in multiples of {self.multiple}, removes none")
        for count in rounds_from(width, target, self.rounds):
            scores = score(self.importance, model, downs, ctx)
            for ffn, score_F in zip(ffns, scores, strict=True):
                cut_neurons(model, ffn, best(score_F, count))
        setattr(model.config, found.family.ffn_width, target)
        return model
