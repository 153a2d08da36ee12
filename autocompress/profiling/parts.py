"""A model taken apart: of every module, what it holds and what it multiplies."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autocompress.models import formats, surgery
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.profiling.kinds import Kind, Kinds
from autocompress.runtimes.flops import unfused
from autocompress.tasks.dataset import Batch, inputs


class Part(NamedTuple):
    """A module without its submodules. `bytes` of what it holds; `moved`: bytes of what its products read and write.

    `integer`: whether its products are those of 8-bit numbers.
    """

    path: str
    kind: Kind
    parameters: int
    bytes: float
    flops: int
    moved: float
    integer: bool


def take_apart(model: nn.Module, plan: PrecisionPlan, batch: Batch) -> tuple[list[Part], Kinds]:
    """Every module that holds or multiplies something; parameters that are shared belong to the first who has them."""
    flops, numbers = _counted(model, batch, {}), _counted(model, batch, _NUMBERS)
    kinds = Kinds(model, {path for path, count in flops.items() if count})
    held: dict[str, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        held[name.rpartition(".")[0]].append(parameter)
    parts = []
    for path, module in model.named_modules():
        own, precision = held[path], plan.get(path)
        stored = {p: _bytes(p, precision, transposed=surgery.holds_transposed(module)) for p in own}
        moved = 0.0
        if flops.get(path):  # the weights as they are stored; what they are multiplied with, in float32
            weights = [p for p in own if p.dim() > 1]
            moved = 4.0 * (numbers[path] - sum(p.numel() for p in weights)) + sum(stored[p] for p in weights)
        integer = precision is not None and precision.activation in ("dynamic_int8", "static_int8")
        count = sum(p.numel() for p in own)
        parts.append(Part(path, kinds.of(path), count, sum(stored.values()), flops.get(path, 0), moved, integer))
    return [part for part in parts if part.parameters or part.flops], kinds


def _bytes(parameter: nn.Parameter, precision: Precision | None, *, transposed: bool) -> float:
    """As the plan stores it, with its scales. Only matrices are rounded."""
    if precision is None or parameter.dim() < 2:
        return parameter.numel() * parameter.element_size()
    O, I = parameter.shape[0], math.prod(parameter.shape[1:])
    return formats.find(precision.weight).bytes(*((I, O) if transposed else (O, I)), precision)


def _counted(model: nn.Module, batch: Batch, mapping: dict[Any, Callable[..., int]]) -> dict[str, int]:
    """What torch's counter says of each module by path, without its submodules."""
    device = next(model.parameters()).device
    sent = {name: tensor.to(device) for name, tensor in inputs(batch).items()}
    with torch.no_grad(), unfused(), FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        model(**sent)
    whole = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items() if name != "Global"}
    own = dict(whole)
    for name, count in whole.items():
        parent = name.rpartition(".")[0]
        while parent and parent not in whole:
            parent = parent.rpartition(".")[0]
        if parent:
            own[parent] -= count
    return {name.partition(".")[2]: count for name, count in own.items()}


def _product_numbers(a_shape: Any, b_shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return sum(math.prod(shape) for shape in (a_shape, b_shape, out_shape))


def _sum_numbers(c_shape: Any, a_shape: Any, b_shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return _product_numbers(a_shape, b_shape, out_shape=out_shape)


_aten = torch.ops.aten
_NUMBERS: dict[Any, Callable[..., int]] = {
    _aten.mm: _product_numbers, _aten.bmm: _product_numbers, _aten.addmm: _sum_numbers, _aten.baddbmm: _sum_numbers,
}  # fmt: skip
