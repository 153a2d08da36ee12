"""Store weights as int8 and quantize activations on the fly, while the model runs.

W ≈ s · q with q in [-127, 127] and s = max|W| / 127, one s for a tensor or, with `per_channel`, one for every output
channel; each activation tensor gets its scale from its own range at run time, so no calibration is needed. With
`embeddings` the word-embedding table is stored as int8 as well and its rows are turned into float32 when read.

Not quantized, by `exclude`: `none`; `classifier` = every linear outside the layers (pooler, pre-classifier,
classifier); `first_last` = those, and the first and the last layer.

The module stays as it is: the runtime carries out what this step writes into the precision plan.

Jacob et al. 2018, arXiv:1712.05877; in BERT: Zafrir et al. 2019, "Q8BERT", arXiv:1910.06188 (without its training).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from torch import nn

from autocompress.architectures import Layout, layout
from autocompress.context import Context
from autocompress.distributions import Choice
from autocompress.errors import NotApplicable
from autocompress.method import Method, Stage
from autocompress.precision import Precision
from autocompress.surgery import linears

Exclude = Literal["none", "classifier", "first_last"]


class Int8Dynamic(Method):
    """A quarter of the bytes, about 0.6 of the latency on a CPU, little loss, no data. Nearly always worth having."""

    stage: ClassVar[Stage] = "lower"

    per_channel: Annotated[bool, Choice((False, True))] = True
    exclude: Annotated[Exclude, Choice(("none", "classifier", "first_last"))] = "none"
    embeddings: bool = True

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        found = layout(model)
        paths = [path for path in linears(model) if not self._excluded(path, found)]
        if not paths:
            raise NotApplicable(f"exclude={self.exclude!r} leaves no linear layer to quantize")
        ctx.precision.add(paths, Precision("int8", "dynamic_int8", per_channel=self.per_channel))
        if self.embeddings:
            ctx.precision.add([found.word_embeddings], Precision("int8", "float32"))
        return model

    def _excluded(self, path: str, found: Layout) -> bool:
        if self.exclude == "none":
            return False
        ends = () if self.exclude == "classifier" else (found.layers[0].path + ".", found.layers[-1].path + ".")
        return not found.in_stack(path) or path.startswith(ends)
