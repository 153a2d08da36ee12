"""A norm of another width than the stock one's, or where the stock model has none."""

from __future__ import annotations

from typing import Any

from torch import nn

PLACE = "norm"


def describe(module: nn.Module) -> dict[str, Any] | None:
    if isinstance(module, nn.LayerNorm):
        return {"width": module.normalized_shape[0], "eps": module.eps, "bias": module.bias is not None}
    if _is_norm(module):
        weight: Any = module.weight
        return {"width": len(weight)}
    return None


def fits(stock: nn.Module | None) -> bool:
    return isinstance(stock, nn.LayerNorm | nn.Identity) or (stock is not None and _is_norm(stock))


def make(entry: dict[str, Any], stock: nn.Module | None) -> nn.Module | None:
    match entry:
        case {"width": int(width), "eps": float(eps), "bias": bool(bias)} if width > 0:
            own = type(stock) if isinstance(stock, nn.LayerNorm) else nn.LayerNorm
            return own(width, eps=eps, bias=bias)
        case {"width": int(width)} if width > 0 and stock is not None and _is_norm(stock):
            return type(stock)(width, getattr(stock, "variance_epsilon", 1e-6))
    return None


def _is_norm(module: nn.Module) -> bool:
    """Root mean square norms are classes of each family's own."""
    weight = getattr(module, "weight", None)
    return type(module).__name__.endswith("Norm") and weight is not None and weight.ndim == 1
