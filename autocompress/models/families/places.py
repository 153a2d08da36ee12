"""Where in a model a module lies: as its family's table says, and for an unknown family by what its modules are."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Literal

from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.models.families.anatomy import anatomy
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.models.students.layers import read_whole
from autocompress.models.surgery import products

Exclude = Literal["none", "classifier", "first_last"]


def quantizable(model: nn.Module, exclude: Exclude) -> dict[str, nn.Module]:
    """The products by path, without the `classifier` (those in no stack of layers), or also without `first_last`.

    Raises `NotApplicable` if none are left.
    """
    least = {"none": -1, "classifier": 0, "first_last": 1}[exclude]
    depth = stacked(model)
    left = {path: module for path, module in products(model).items() if depth.get(path, -1) >= least}
    if not left:
        raise NotApplicable(f"exclude={exclude!r} leaves no linear layer to quantize")
    return left


def plan_products(
    model: nn.Module,
    plan: PrecisionPlan,
    paths: Collection[str],
    precision: Precision,
    scales: Mapping[str, Tensor] | None = None,
) -> None:
    """Plan `precision` for products; with float inputs for those in a recurrence, which no input meets alone."""
    whole = read_whole(model)
    inner = {path for path in paths if path in whole}
    plan.add((path for path in paths if path not in inner), precision)
    plan.add(inner, dataclasses.replace(precision, activation="float32", per_token=False))
    plan.add((), precision, {
        name: scale for name, scale in (scales or {}).items()
        if name.rpartition(".")[0] not in inner or not name.rpartition(".")[2].startswith("input_")
    })  # fmt: skip


def stacked(model: nn.Module) -> dict[str, int]:
    """Of every module in a stack of layers: how many layers lie between it and the nearer end."""
    depth: dict[str, int] = {}
    for path in stacks(model):
        stack: Any = model.get_submodule(path)
        for i, layer in enumerate(stack):
            depth |= {f"{path}.{i}.{name}": min(i, len(stack) - 1 - i) for name, _ in layer.named_modules() if name}
    return depth


def stacks(model: nn.Module) -> list[str]:
    """The paths of the stacks of layers. Where there is no table: every `ModuleList` that lies in no other."""
    try:
        return [stack.path for stack in anatomy(model).stacks]
    except NotApplicable:
        found = [path for path, m in model.named_modules() if isinstance(m, nn.ModuleList)]
        return [path for path in found if not any(path.startswith(f"{outer}.") for outer in found)]


def projections(model: nn.Module) -> dict[str, Literal["attention", "feed-forward"]]:
    """What each product of the layers belongs to, by path. Empty where there is no table."""
    try:
        blocks = anatomy(model).blocks
    except NotApplicable:
        return {}
    found: dict[str, Literal["attention", "feed-forward"]] = {}
    for block in blocks:
        found |= dict.fromkeys(block.projections, "attention")
        found |= dict.fromkeys((path for ffn in block.ffns for path in ffn.products), "feed-forward")
    return found
