"""Compute attention by way of `landmarks` means of neighbouring tokens.

softmax(q k̃ᵀ) · pinv(softmax(q̃ k̃ᵀ)) · softmax(q̃ kᵀ) v, the inverse by six steps of an iteration.

Xiong et al. 2021, "Nyströmformer", arXiv:2102.03902 (64 landmarks for texts of 512 to 4,096; pretrained so).
Departures: no convolution of the values, which would have to be trained; runs of tokens are as long as the batch asks.
For encoders: the mean of a run holds tokens that come later. Not for families that add relative positions to the scores
of pairs (MPNet, T5, DeBERTa): a mean stands at no one place.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from autocompress.methods.context import Context
from autocompress.models import attentions
from autocompress.models.attentions.nystrom import NystromPattern
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage


class Nystrom(Method):
    """For long texts: nearer to what was trained than linear, at a fixed cost that short texts do not pay back."""

    stage: ClassVar[Stage] = "structure"
    pays: ClassVar[tuple[Gain, ...]] = ("latency",)

    landmarks: Annotated[int, Field(ge=2, le=1024), Choice((32, 64, 128))] = 64

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        attentions.install(model, NystromPattern(self.landmarks))
        return model
