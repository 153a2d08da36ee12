"""Dropout on a CPU in a third of the time (draws.py), also inside of torch's attention (attention.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from autocompress.models.dropout.attention import attended
from autocompress.models.dropout.draws import Cleared, drawn, quick


class QuickDropout(TorchFunctionMode):
    """Within it, dropout of what lies on a CPU is ours: that of modules, and that inside of torch's attention."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        ours = _OURS.get(func)
        found = ours(*args, **(kwargs or {})) if ours else None
        return func(*args, **(kwargs or {})) if found is None else found


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor | None:
    """None: torch does it."""
    if not training or inplace or not quick(input, p):
        return None
    stays, scale = drawn(input.shape, p)
    found: Tensor = Cleared.apply(input * scale, stays)  # type: ignore[no-untyped-call]
    return found


_OURS: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    F.dropout: _dropout,
    F.scaled_dot_product_attention: attended,
}
