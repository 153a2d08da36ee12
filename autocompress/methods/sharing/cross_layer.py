"""Give neighbouring layers one set of weights: a model keeps as many layers, and fewer weights.

The layers of a stack are parted into `groups` runs of as equal length as may be; in each run the matrices of `what`
(`all`, `attention`, `ffn`) become one, which starts as their mean (`init: mean`) or as those of the run's first layer
(`first`). Norms and biases stay each layer's own, as they are few and let layers that share differ. Every artefact
stores what is shared once.

Lan et al. 2019, "ALBERT", arXiv:1909.11942 (trained so from the start; sharing attention costs least); converting a
trained model: Reid et al. 2021, "Subformer", arXiv:2101.00234. Departure: in ALBERT norms and biases are shared too.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.models.families.anatomy import Block, anatomy
from autocompress.models.surgery import product
from autocompress.space.distributions import Choice
from autocompress.space.method import Gain, Method, Stage


class CrossLayer(Method):
    """Bytes, at no latency: as many products are computed as before. Costs much quality at once; train after it."""

    stage: ClassVar[Stage] = "factor"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes",)

    groups: Annotated[int, Field(ge=1), Choice((1, 2, 3))] = 2
    what: Annotated[Literal["all", "attention", "ffn"], Choice(("all", "attention", "ffn"))] = "all"
    init: Literal["mean", "first"] = "mean"

    @torch.no_grad()
    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        shared = 0
        for stack in anatomy(model).stacks:
            depth = len(stack.blocks)
            for group in range(min(self.groups, depth)):
                run = stack.blocks[group * depth // self.groups : (group + 1) * depth // self.groups]
                shared += self._shared(model, run) if len(run) > 1 else 0
        if not shared:
            raise NotApplicable(f"no two layers have {self._named} of one shape to share in {self.groups} groups")
        return model

    @property
    def _named(self) -> str:
        return "matrices" if self.what == "all" else f"matrices of their {self.what}"

    def _shared(self, model: nn.Module, run: tuple[Block, ...]) -> int:
        """How many matrices of the first layer are those of the others too."""
        count = 0
        for paths in zip(*(self._scoped(block) for block in run), strict=False):
            inner = [list(product(model, path).named_parameters()) for path in paths]
            for named in zip(*inner, strict=False):
                matrices = [parameter for _, parameter in named]
                if len({(name, p.shape) for name, p in named}) > 1 or matrices[0].ndim < 2 or len({*matrices}) == 1:
                    continue
                if self.init == "mean":
                    matrices[0].copy_(torch.stack(matrices).mean(0))
                for path in paths[1:]:
                    _put(product(model, path), named[0][0], matrices[0])
                count += 1
        return count

    def _scoped(self, block: Block) -> tuple[str, ...]:
        ffn = tuple(path for one in block.ffns for path in one.products)
        return {"all": block.projections + ffn + block.others, "ffn": ffn, "attention": block.projections}[self.what]


def _put(layer: Any, name: str, parameter: nn.Parameter) -> None:
    parent, _, own = name.rpartition(".")
    setattr(layer.get_submodule(parent), own, parameter)
