"""Store weights as int8 and quantize activations on the fly, while the model runs.

W ≈ s · q with q in [-127, 127] and s = max|W| / 127, with `per_channel` one s for every output channel, else one for a
tensor. Activations get their scale from their own range at run time, so no calibration is needed: with `per_token` one
for every token (Yao et al. 2022, "ZeroQuant", arXiv:2206.01861), and then an answer does not depend on the other texts
of its batch; else one for the batch, which takes 0.91 to 0.93 of the time and has some four times the error, because
a few tokens have outliers. With `embeddings` the table of token embeddings is stored as int8 as well, one scale a row,
and its rows are turned into float32 when read.

With neither, which quantization scripts do unless they are told otherwise, a MiniLM on short reviews kept its score
(0.3 points less on 600 texts, 0.2 more on 1,500). Larger BERTs have worse outliers (Bondarenko et al. 2021,
arXiv:2109.12948: 12 points of GLUE, with static ranges): the score of the trial says it.

Not quantized, by `exclude`: `none`; `classifier` = every linear outside the stacks of layers (pooler, pre-classifier,
classifier); `first_last` = those, and the first and the last layer of each stack.

A recurrent layer reads its matrices whole: they are stored as int8, and multiplied with float32 inputs.

The module computes what it did: the runtime carries out what this step writes into the precision plan. Low-rank pairs
are made ready for rounding (see incoherence.py).

Jacob et al. 2018, arXiv:1712.05877; in BERT: Zafrir et al. 2019, "Q8BERT", arXiv:1910.06188 (without its training).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from torch import nn

from autocompress.methods.context import Context
from autocompress.models.families.places import Exclude, plan_products, quantizable
from autocompress.models.precision_plan import Precision
from autocompress.models.rotation import spread_pairs
from autocompress.models.surgery import token_tables
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage


class Int8Dynamic(Method):
    """A quarter of the bytes, about 0.4 of the latency on a CPU, little loss, no data. Nearly always worth having."""

    stage: ClassVar[Stage] = "lower"
    pays: ClassVar[tuple[Gain, ...]] = ("latency", "bytes")

    per_token: Annotated[bool, Choice((False, True))] = True
    per_channel: bool = True
    exclude: Annotated[Exclude, Choice(("none", "classifier", "first_last"))] = "none"
    embeddings: bool = True

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        spread_pairs(model)
        paths, scales = quantizable(model, self.exclude), {"per_channel": self.per_channel, "per_token": self.per_token}
        plan_products(model, ctx.precision, paths, Precision("int8", "dynamic_int8", **scales))
        if self.embeddings:
            ctx.precision.add(token_tables(model), Precision("int8", per_channel=True))
        return model
