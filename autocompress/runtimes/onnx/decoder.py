"""What is traced of a model that continues texts: a run that reads what earlier ones gave to remember."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from autocompress.models.decoders.decoding import Decoder, past_example
from autocompress.models.decoders.remembered import ASKED, PRESENT, names
from autocompress.tasks.dataset import Batch

_REMEMBERED = 2  # tokens of the example that are read before the traced run: none would be traced as a special case


class Traced(NamedTuple):
    """A module, what it is given in this order, what it gives, and the axes of both that are free."""

    module: nn.Module
    given: dict[str, Tensor]
    gives: list[str]
    axes: dict[str, dict[int, str]]


class _Positional(Decoder):
    """Tensors in and out, in an order."""

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        super().__init__(model)
        self._names = names

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        return tuple(super().forward(dict(zip(self._names, tensors, strict=True))).values())


def decoder(model: nn.Module, batch: Batch) -> Traced:
    """`models.decoding.Decoder` on the first two rows of a batch, or its one row twice."""
    ids_BT = torch.cat([batch["input_ids"], batch["input_ids"]])[:2]
    read_BT = torch.ones_like(ids_BT)
    past = past_example(model, {"input_ids": ids_BT[:, :_REMEMBERED], "attention_mask": read_BT[:, :_REMEMBERED]})
    rest_BT = ids_BT[:, _REMEMBERED:]
    given = {"input_ids": rest_BT, "attention_mask": read_BT, ASKED: torch.arange(rest_BT.shape[1]), **past}
    present = names(len(past) // 2, PRESENT)
    axes = {"input_ids": {0: "batch", 1: "tokens"}, "attention_mask": {0: "batch", 1: "seen"}, ASKED: {0: "asked"}}
    axes |= {"logits": {0: "batch", 1: "asked"}} | {name: {0: "batch", 2: "past"} for name in past}
    axes |= {name: {0: "batch", 2: "seen"} for name in present}
    return Traced(_Positional(model, list(given)), given, ["logits", *present], axes)
