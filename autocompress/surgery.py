"""What methods do to a module tree: find, replace, slice. Always real slicing, never masks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LowRankLinear(nn.Module):
    """x V^T U^T + b: a linear layer of rank R kept as its two factors, `down` = V_RI and `up` = U_OR."""

    def __init__(self, in_features: int, out_features: int, rank: int, *, bias: bool = True) -> None:
        super().__init__()
        self.down = nn.Linear(in_features, rank, bias=False)
        self.up = nn.Linear(rank, out_features, bias=bias)

    def forward(self, x_BTI: Tensor) -> Tensor:
        return self.up(self.down(x_BTI))  # type: ignore[no-any-return]

    @property
    def in_features(self) -> int:
        return self.down.in_features

    @property
    def out_features(self) -> int:
        return self.up.out_features

    @property
    def rank(self) -> int:
        return self.down.out_features

    @property
    def weight(self) -> Tensor:
        """W_OI, the product of the factors."""
        return self.up.weight @ self.down.weight


AnyLinear = nn.Linear | LowRankLinear


class Logits(nn.Module):
    """Positional inputs in, bare logits out: what an exporter traces."""

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model = model
        self._names = names

    def forward(self, *tensors: Tensor) -> Tensor:
        logits: Tensor = self.model(**dict(zip(self._names, tensors, strict=True))).logits
        return logits


def linears(model: nn.Module) -> dict[str, nn.Linear]:
    """Every linear layer by path, the inner ones of low-rank pairs too."""
    return {path: m for path, m in model.named_modules() if isinstance(m, nn.Linear)}


def linear(model: nn.Module, path: str) -> AnyLinear:
    """The projection at `path`, plain or low-rank. A `TypeError` if something else stands there."""
    module = model.get_submodule(path)
    if not isinstance(module, AnyLinear):
        raise TypeError(f"{path} is a {type(module).__name__}, not a linear layer")
    return module


def replace(model: nn.Module, path: str, new: nn.Module) -> None:
    """Put `new` in the place of the submodule at `path`."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, new)


def keep_outputs(layer: AnyLinear, index: Tensor) -> None:
    """Shrink `layer` in place to the output rows in `index`."""
    inner = layer.up if isinstance(layer, LowRankLinear) else layer
    inner.weight = nn.Parameter(inner.weight.detach()[index].clone())
    if inner.bias is not None:
        inner.bias = nn.Parameter(inner.bias.detach()[index].clone())
    inner.out_features = len(index)


def keep_inputs(layer: AnyLinear, index: Tensor) -> None:
    """Shrink `layer` in place to the input columns in `index`."""
    inner = layer.down if isinstance(layer, LowRankLinear) else layer
    inner.weight = nn.Parameter(inner.weight.detach()[:, index].clone())
    inner.in_features = len(index)


def best(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` highest scores, ascending. Ties go to the lower index."""
    return torch.sort(scores, descending=True, stable=True).indices[:count].sort().values
