"""Drop whole layers.

From N layers, max(1, round(keep · N)) stay, in their order; of an encoder and a decoder, that share of each. Where the
layers are one module (ALBERT), it runs fewer times. The strategy says which are dropped:

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
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.models.cutting import drop_blocks, spread
from autocompress.models.families.anatomy import Stack, anatomy
from autocompress.models.forward import CPU, fetched, forward, placed
from autocompress.models.surgery import best
from autocompress.space.distributions import Choice, Neutral, Range
from autocompress.space.method import Gain, Method, Stage
from autocompress.tasks.dataset import Batch

Strategy = Literal["top", "bottom", "alternate", "contribution"]


class Layers(Method):
    """The surest way to lower latency: proportional on every runtime. Follow it with a finetune."""

    stage: ClassVar[Stage] = "structure"
    pays: ClassVar[tuple[Gain, ...]] = ("latency", "bytes")

    keep: Annotated[float, Field(gt=0, lt=1), Range(0.33, 0.84), Neutral(1)] = 0.5
    strategy: Annotated[Strategy, Choice(("top", "alternate", "contribution"))] = "alternate"

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        stacks = anatomy(model).stacks
        if not stacks:
            raise NotApplicable(f"a {anatomy(model).kind!r} model has no layers that follow each other")
        counts = [max(1, round(self.keep * stack.passes)) for stack in stacks]
        if all(count == stack.passes for count, stack in zip(counts, stacks, strict=True)):
            depths = " and ".join(str(stack.passes) for stack in stacks)
            raise NotApplicable(f"keep={self.keep:g} of {depths} layers drops none")
        kept = [self._kept(model, ctx, stack, count) for stack, count in zip(stacks, counts, strict=True)]
        for stack, these in zip(stacks, kept, strict=True):
            drop_blocks(model, stack, these)
        return model

    def by_shape(self) -> Method:
        return self.model_copy(update={"strategy": "top"})

    def _kept(self, model: nn.Module, ctx: Context, stack: Stack, count: int) -> list[int]:
        depth = stack.passes
        match self.strategy:
            case "top":
                return list(range(count))
            case "bottom":
                return list(range(depth - count, depth))
            case "alternate":
                return spread(depth, count)
            case "contribution":
                if stack.shared:
                    raise NotApplicable("strategy='contribution' has nothing to tell: the layers are one module")
                return [int(i) for i in best(contributions(model, stack, ctx.calibration, ctx.device), count)]


@torch.no_grad()
def contributions(model: nn.Module, stack: Stack, batches: list[Batch], device: torch.device = CPU) -> Tensor:
    """Mean angular distance between what each layer gets and gives, in half turns: (layers,)."""
    model.eval()
    blocks = [model.get_submodule(block.path) for block in stack.blocks]
    distances = []
    with placed(model, device):
        for batch in batches:
            h_LBTD = fetched(torch.stack(_passed_on(model, blocks, batch)))
            cosine_LBT = F.cosine_similarity(h_LBTD[:, 0], h_LBTD[:, 1], dim=-1).clamp(-1, 1)
            distances.append(cosine_LBT[:, batch["attention_mask"].bool()].arccos() / math.pi)
    return torch.cat(distances, dim=1).mean(1)


def _passed_on(model: nn.Module, blocks: list[nn.Module], batch: Batch) -> list[Tensor]:
    """What each block got and gave: (2, B, T, D) each."""
    states: dict[nn.Module, Tensor] = {}

    def record(block: nn.Module, args: tuple[Any, ...], named: dict[str, Any], given: Any) -> None:
        got = args[0] if args else named["hidden_states"]
        states[block] = torch.stack([got, given[0] if isinstance(given, tuple) else given])

    handles = [block.register_forward_hook(record, with_kwargs=True) for block in blocks]
    try:
        forward(model, batch, frozenset({"logits"}))
    finally:
        for handle in handles:
            handle.remove()
    return [states[block] for block in blocks]
