"""Let every token attend to `window` tokens on each side of it, and to the first `first`, which attend to all.

Beltagy et al. 2020, "Longformer", arXiv:2004.05150 (windows of 512 in all for texts of 4,096; the first token of a
classifier is global; global tokens have projections of their own). Departure: no projections of their own, so that a
trained model is only cut, and is what it was where the window covers the text. Layers with a window of their own
(ModernBERT) stay as they are. Where scores hold relative positions (MPNet, T5, DeBERTa), those of the pairs that are
left are added as before, and worked out for these alone; of T5 the attention to the other stack stays whole.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from autocompress.methods.context import Context
from autocompress.models import attentions
from autocompress.models.attentions.sliding_window import WindowPattern
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage


class SlidingWindow(Method):
    """For long texts: time grows with their number of tokens, not with its square."""

    stage: ClassVar[Stage] = "structure"
    pays: ClassVar[tuple[Gain, ...]] = ("latency",)

    window: Annotated[int, Field(ge=1, le=4096), Choice((32, 64, 128))] = 64
    first: Annotated[int, Field(ge=0, le=64)] = 1

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        attentions.install(model, WindowPattern(self.window, self.first))
        return model
