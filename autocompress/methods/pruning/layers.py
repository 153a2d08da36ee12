"""Drop whole layers.

From N layers, max(1, round(keep · N)) stay, in their order. The strategy says which are dropped:

- `top`: the last ones, next to the classifier. The paper's best for BERT, RoBERTa and XLNet.
- `bottom`: the first ones. Known to be the worst; for comparison, outside the default range.
- `alternate`: those between; evenly spaced ones stay, the first and the last among them. The default: on a fine-tuned
  MiniLM, 3 of 6 layers and an epoch later, it kept 0.742 of 0.784 accuracy, `contribution` 0.716, `top` 0.494.
- `contribution`: those that turn the hidden states least: the mean angular distance arccos(cos(h_in, h_out)) / π over
  the tokens of the calibration batches.

Sajjad et al. 2020, "On the Effect of Dropping Layers of Pre-trained Transformer Models" (Poor Man's BERT),
arXiv:2004.03844; angular distance: Gromov et al. 2024, arXiv:2403.17887 (which drops one block of adjacent layers,
while here every layer is judged by itself).
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.architectures import layout
from autocompress.context import Context, forward
from autocompress.distributions import Choice, Range
from autocompress.errors import NotApplicable
from autocompress.examples import Batch
from autocompress.method import Method, Stage
from autocompress.surgery import best

Strategy = Literal["top", "bottom", "alternate", "contribution"]


class Layers(Method):
    """The surest way to lower latency: proportional on every runtime. Follow it with a finetune."""

    stage: ClassVar[Stage] = "structure"

    keep: Annotated[float, Field(gt=0, lt=1), Range(0.33, 0.84)] = 0.5
    strategy: Annotated[Strategy, Choice(("top", "alternate", "contribution"))] = "alternate"

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        found = layout(model)
        depth = len(found.layers)
        count = max(1, round(self.keep * depth))
        if count == depth:
            raise NotApplicable(f"keep={self.keep:g} of {depth} layers drops none")
        stack = model.get_submodule(found.stack)
        assert isinstance(stack, nn.ModuleList)
        kept = self._kept(model, ctx, depth, count)
        for i in reversed(range(depth)):
            if i not in kept:
                del stack[i]
        setattr(model.config, found.family.depth, count)
        return model

    def _kept(self, model: nn.Module, ctx: Context, depth: int, count: int) -> list[int]:
        match self.strategy:
            case "top":
                return list(range(count))
            case "bottom":
                return list(range(depth - count, depth))
            case "alternate":
                return [round(i * (depth - 1) / max(1, count - 1)) for i in range(count)]
            case "contribution":
                return [int(i) for i in best(contributions(model, ctx.calibration), count)]


@torch.no_grad()
def contributions(model: nn.Module, batches: list[Batch]) -> Tensor:
    """Mean angular distance between what each layer gets and gives, in half turns: (layers,)."""
    model.eval()
    distances = []
    for batch in batches:
        states = forward(model, batch, frozenset({"logits", "hidden_states"})).hidden_states
        assert states is not None
        h_LBTD = torch.stack(states)
        cosine_LBT = F.cosine_similarity(h_LBTD[:-1], h_LBTD[1:], dim=-1).clamp(-1, 1)
        distances.append(cosine_LBT[:, batch["attention_mask"].bool()].arccos() / math.pi)
    return torch.cat(distances, dim=1).mean(1)
