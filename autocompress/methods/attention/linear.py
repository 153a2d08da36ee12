"""Replace softmax(q kᵀ) v by φ(q) (φ(k)ᵀ v), normalised: time and memory grow with the number of tokens.

`features`: φ(x) = `elu`(x) + 1 (Katharopoulos et al. 2020, "Transformers are RNNs", arXiv:2006.16236, trained so from
the start), `relu`(x) (Kasai et al. 2021, arXiv:2103.13076, which converts trained models and trains them on), or
`taylor`: the first terms of the exponential, 1 + q·k + (q·k)² / 2, whose φ has as many numbers as a head's size squared
(Keles et al. 2022, arXiv:2209.04881). Scores are scaled as before. Departure: no learnt feature map.
Not for families that add relative positions to the scores of pairs (MPNet, T5, DeBERTa): there are no such scores.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from torch import nn

from autocompress.methods.context import Context
from autocompress.models import attentions
from autocompress.models.attentions.linear import LinearPattern
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage


class Linear(Method):
    """For long texts, and a finetune: what a trained softmax looked at is lost at once, least with taylor."""

    stage: ClassVar[Stage] = "structure"
    pays: ClassVar[tuple[Gain, ...]] = ("latency",)

    features: Annotated[Literal["elu", "relu", "taylor"], Choice(("elu", "relu", "taylor"))] = "elu"

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        attentions.install(model, LinearPattern(self.features))
        return model
