"""What a model is made of, as a runtime sees it: its products, what it moves between them, and what it stores.

Counted operator by operator in a forward pass on the meta device, so that whatever stands for a matrix or an attention
is counted as what it is. A product is of the kind that the plan gives its layer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from autocompress.models import surgery
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.runtimes.flops import unfused
from autocompress.runtimes.runtime import Runtime
from autocompress.tasks.dataset import inputs
from autocompress.trials.prediction.structure import META, numberless, on_meta

FLOPS, MOVED, BYTES, CALLS, COSTLY = "flops", "moved", "bytes", "calls", "costly"
_COSTLY_ONES = {"exp", "erf", "gelu", "tanh", "sigmoid", "silu", "_softmax", "_safe_softmax", "pow", "rsqrt", "log"}


class Pieces(NamedTuple):
    """`work`: how much there is of each piece, by its name, such as `product float32 flops`. `stored`: bytes.

    Measures: `flops`, numbers `moved` in and out, weights' numbers (`bytes`), `calls` of operators, and numbers that
    are `costly` to make (an exponential).
    """

    work: dict[str, float]
    stored: float  # by tensors that the forward pass reads
    all_stored: float  # with those that it does not read
    parameters: float
    flops: float


def count(model: nn.Module, plan: PrecisionPlan, batch: Mapping[str, Any], runtime: Runtime) -> Pieces:
    """The pieces of one forward pass of `model`, which is on the meta device, as a runtime stores them."""
    counter = _Counter()
    handles = [
        hook for path, precision in plan.items() for hook in counter.follow(model.get_submodule(path), precision)
    ]
    try:
        with numberless(), counter, META, torch.no_grad(), unfused():
            model(**inputs(on_meta(batch)))
    finally:
        for handle in handles:
            handle.remove()
    held = _bytes(model, plan, runtime)
    return Pieces(
        dict(counter.work),
        stored=sum(size for tensor, size in held.items() if id(tensor) in counter.read),
        all_stored=sum(held.values()),
        parameters=float(sum(p.numel() for p in model.parameters())),
        flops=float(counter.flops),
    )  # fmt: skip


def kind_of(precision: Precision | None) -> str:
    """What decides which kernel multiplies."""
    if precision is None:
        return "float32"
    bits = f"{precision.bits}" if precision.bits else ""
    return f"{precision.weight}{bits}*{precision.activation}" + ("*token" if precision.per_token else "")


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what passes by."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work: Counter[str] = Counter({f"whole {CALLS}": 1})
        self.read: set[int] = set()  # the tensors that were asked for, by their identity
        self.flops = 0
        self._within: list[Precision] = []

    def follow(self, module: nn.Module, precision: Precision) -> list[Any]:
        """While `module` runs, products are of its precision."""
        return [
            module.register_forward_pre_hook(lambda *_: self._within.append(precision)),
            module.register_forward_hook(lambda *_: self._left()),
        ]

    def _left(self) -> None:
        self._within.pop()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [x for arg in args for x in (arg if isinstance(arg, list | tuple) else [arg]) if isinstance(x, Tensor)]
        self.read.update(id(x) for x in given)
        if not _is_view(func) and isinstance(out, Tensor):
            self._add(func, given, args, kwargs or {}, out)
        return out

    def _add(self, func: Any, given: list[Tensor], args: Any, kwargs: Any, out: Tensor) -> None:
        name = func._overloadpacket.__name__
        flops = flop_registry.get(func._overloadpacket)
        kind = kind_of(self._within[-1] if self._within else None)
        if flops is not None:
            self._product(flops(*args, **kwargs, out_val=out), kind, given, out, batched=name in ("bmm", "baddbmm"))
        elif name == "embedding":
            self.work[f"rows {kind} {MOVED}"] += out.numel()
        else:
            self.work[f"rest {MOVED}"] += out.numel() + sum(x.numel() for x in given)
            self.work[f"rest {COSTLY}"] += out.numel() if name in _COSTLY_ONES else 0
        self.work[f"rest {CALLS}"] += 1

    def _product(self, flops: int, kind: str, given: list[Tensor], out: Tensor, *, batched: bool) -> None:
        """One of two tensors that both are made as the model runs, or of one of them with a weight."""
        self.flops += flops
        matrices = [x for x in given if x.dim() > 1]
        weights = 0 if batched else min((x.numel() for x in matrices[1:]), default=0)
        of = "batched" if batched else f"product {kind}"
        self.work[f"{of} {FLOPS}"] += flops
        self.work[f"{of} {MOVED}"] += out.numel() + sum(x.numel() for x in matrices) - weights
        self.work[f"{of} {CALLS}"] += 1
        if weights:
            self.work[f"{of} {BYTES}"] += weights


def _is_view(func: Callable[..., Any]) -> bool:
    returns: Any = func._schema.returns  # type: ignore[attr-defined]
    return bool(returns) and returns[0].alias_info is not None


def _bytes(model: nn.Module, plan: PrecisionPlan, runtime: Runtime) -> dict[nn.Parameter, float]:
    """What each parameter takes as the plan stores it, with its scales.

    Only matrices are rounded, unless the whole model computes in fewer bits.
    """
    found: dict[nn.Parameter, float] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        precision = plan.get(path)
        for parameter in module.parameters(recurse=False):
            if precision is None or parameter.dim() < 2:
                size = float(parameter.numel() * parameter.element_size())
            else:
                O, I = parameter.shape[0], math.prod(parameter.shape[1:])
                O, I = (I, O) if surgery.holds_transposed(module) else (O, I)
                size = runtime.stored_bytes(O, I, precision, table=isinstance(module, nn.Embedding))
            found[parameter] = min(size, found.get(parameter, size))
    return found
