"""What a recipe makes of a model's shapes, in milliseconds: its steps on tensors that hold no numbers.

On torch's meta device a singular value decomposition costs as little as a view. Steps that change values alone are left
out, and no calibration text is read: which units stay is not known then, but how many. Steps ask for numbers now and
then (is any token masked?): they are given ones. No shape may depend on these, as none may depend on the two texts of a
rehearsal. Where a step asks for a whole number, or for anything else that is not known, the recipe has to be rehearsed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from autocompress.methods.context import Context
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.space.recipe import Recipe

META = torch.device("meta")
_aten = torch.ops.aten


def structure(start: nn.Module, ctx: Context, recipe: Recipe) -> tuple[nn.Module, PrecisionPlan] | None:
    """The recipe carried out on a copy of `start`, all of it on the meta device; None where that cannot be done.

    `ctx`: a rehearsal's.
    """
    if not all(_of_shapes_alone(type(method)) for method in recipe):
        return None
    from transformers.initialization import no_init_weights  # transformers takes a second to load: only where needed

    try:
        with numberless(), META, no_init_weights():
            ctx = replace(ctx, calibration=[], device=META)
            model = hollow(start)
            for method in recipe:
                if not method.values_only or (method.trains and ctx.schedules):
                    model = method.by_shape().apply(model, ctx)
            return model.eval(), ctx.precision
    except Exception:  # a step that needs numbers, or that cannot act: a rehearsal says which
        return None


def hollow(model: nn.Module) -> nn.Module:
    """A copy of the same structure on the meta device. No number is copied."""
    tensors = [*model.parameters(), *model.buffers()]
    known: dict[int, Any] = {id(tensor): _hollow(tensor) for tensor in tensors}
    return copy.deepcopy(model, known)


def on_meta(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The batch without its numbers."""
    return {name: torch.as_tensor(tensor).to(META) for name, tensor in batch.items()}


def _hollow(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device=META)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _of_shapes_alone(method: Any) -> bool:
    """Ours are held to it by a test. Of others, and of what is guessed or counted from texts, it is not known."""
    ours: bool = method.__module__.startswith("autocompress.")
    return ours and not (method.estimated or method.uses_corpus or method.uses_target)


def numberless() -> TorchDispatchMode:
    """Within it tensors without numbers may be asked for some."""
    return _Numberless()  # type: ignore[no-untyped-call]


class _Numberless(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Answer what is asked of tensors without numbers as if all were ones, and let them stay where they are."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        first = args[0] if args else None
        if not (isinstance(first, Tensor) and first.is_meta):
            return func(*args, **kwargs)
        if func is _aten._local_scalar_dense.default:
            return _number(first)
        if func is _aten._to_copy.default and kwargs.get("device") is not None:
            kwargs = kwargs | {"device": META}
        if func is _aten.nonzero.default:
            return first.new_empty((first.numel(), first.dim()), dtype=torch.long)
        if func is _aten.index.Tensor:
            args = (first, [row for rows in args[1] for row in _all_of(rows)], *args[2:])
        return func(*args, **kwargs)


def _number(tensor: Tensor) -> float | bool:
    """A whole number may be a place or a count, on which shapes depend."""
    if tensor.dtype == torch.bool:
        return True
    if not tensor.is_floating_point():
        raise LookupError("a whole number is asked of a tensor that holds none")
    return 1.0


def _all_of(rows: Tensor | None) -> list[Tensor | None]:
    """A mask as the places that it lets through, which are all."""
    if rows is None or rows.dtype != torch.bool:
        return [rows]
    return [rows.new_empty((rows.numel(),), dtype=torch.long) for _ in range(rows.dim())]
