"""Linear layers and embedding tables that are kept as products of smaller tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Factored(nn.Module):
    """A linear layer in the form of its factors. `weight` is what they multiply to."""

    in_features: int
    out_features: int
    bias: Tensor | None

    @property
    def weight(self) -> Tensor:
        """W_OI, the product of the factors."""
        raise NotImplementedError


class LowRankLinear(Factored):
    """x V^T U^T + b: a linear layer of rank R kept as its two factors, `down` = V_RI and `up` = U_OR."""

    def __init__(self, in_features: int, out_features: int, rank: int, *, bias: bool = True) -> None:
        super().__init__()
        self.down = nn.Linear(in_features, rank, bias=False)
        self.up = nn.Linear(rank, out_features, bias=bias)

    def forward(self, x_BTI: Tensor) -> Tensor:
        return self.up(self.down(x_BTI))  # type: ignore[no-any-return]

    @property
    def in_features(self) -> int:  # type: ignore[override]
        return self.down.in_features

    @property
    def out_features(self) -> int:  # type: ignore[override]
        return self.up.out_features

    @property
    def bias(self) -> Tensor | None:  # type: ignore[override]
        return self.up.bias

    @property
    def rank(self) -> int:
        return self.down.out_features

    @property
    def weight(self) -> Tensor:
        """W_OI, the product of the factors."""
        return self.up.weight @ self.down.weight


class KroneckerLinear(Factored):
    """x (A ⊗ B)^T + b, with A of `left` = (P, Q), B of (O / P, I / Q). The large matrix is never built to run it."""

    def __init__(self, in_features: int, out_features: int, left: tuple[int, int], *, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features, self.left_shape = in_features, out_features, left
        P, Q = left
        self.left = nn.Parameter(torch.empty(P, Q))
        self.right = nn.Parameter(torch.empty(out_features // P, in_features // Q))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """y = A X Bᵀ with X the input as a matrix (Q, I / Q)."""
        X = x.reshape(*x.shape[:-1], self.left_shape[1], -1)
        y = (self.left @ (X @ self.right.T)).flatten(-2)
        return y if self.bias is None else y + self.bias

    @property
    def weight(self) -> Tensor:
        (P, Q), (p, q) = self.left.shape, self.right.shape  # as torch.kron, which has no operator in ONNX
        return (self.left.reshape(P, 1, Q, 1) * self.right.reshape(1, p, 1, q)).reshape(P * p, Q * q)

    def extra_repr(self) -> str:
        return f"in={self.in_features}, out={self.out_features}, left={self.left_shape}, bias={self.bias is not None}"


class Train(nn.Module):
    """A matrix (o1···od) x (i1···id) as a train of cores G_k of (r, o_k, i_k, r'), the outer ranks 1."""

    def __init__(self, outs: Sequence[int], ins: Sequence[int], ranks: Sequence[int]) -> None:
        """`ranks`: those between the cores, one less than there are cores."""
        super().__init__()
        self.outs, self.ins, self.ranks = tuple(outs), tuple(ins), tuple(ranks)
        ends = (1, *ranks, 1)
        self.cores = nn.ParameterList(
            torch.empty(ends[k], o, i, ends[k + 1]) for k, (o, i) in enumerate(zip(outs, ins, strict=True))
        )

    def matrix(self) -> Tensor:
        """(O, I)."""
        whole: Tensor = self.cores[0]
        for core in self.cores[1:]:
            whole = torch.einsum("aoib,bpjc->aopijc", whole, core)
            a, o, p, i, j, c = whole.shape
            whole = whole.reshape(a, o * p, i * j, c)
        return whole[0, :, :, 0]

    def extra_repr(self) -> str:
        return f"outs={self.outs}, ins={self.ins}, ranks={self.ranks}"


class TensorTrainLinear(Factored):
    """A linear layer whose matrix is a tensor train; inputs pass through it core by core."""

    def __init__(self, outs: Sequence[int], ins: Sequence[int], ranks: Sequence[int], *, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = math.prod(ins), math.prod(outs)
        self.train_of = Train(outs, ins, ranks)
        self.bias = nn.Parameter(torch.zeros(self.out_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        train = self.train_of
        rest = self.in_features
        y = x.reshape(*x.shape[:-1], 1, 1, rest)  # (..., what is done O, rank, what is left I)
        done = 1
        for core in train.cores:
            r, o, i, s = core.shape
            rest //= i
            y = y.reshape(*x.shape[:-1], done, r * i, rest)
            y = core.permute(1, 3, 0, 2).reshape(o * s, r * i) @ y
            done *= o
            y = y.reshape(*x.shape[:-1], done, s, rest)
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    @property
    def weight(self) -> Tensor:
        return self.train_of.matrix()


def truncated_svd(W_OI: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """U_OR, V_RI with U V nearest to W.

    By the eigenvectors of the smaller Gram matrix, 5 times faster than an SVD. They blur only directions below
    3e-4 of the largest singular value, whose share of the squared norm is below float32's own precision.
    """
    if W_OI.shape[0] > W_OI.shape[1]:
        V_IR, U_RO = truncated_svd(W_OI.T, rank)
        return U_RO.T, V_IR.T
    _, Q_OO = torch.linalg.eigh(W_OI @ W_OI.T)
    Q_OR = Q_OO[:, -rank:].flip(1)  # eigh sorts ascending
    P_RI = Q_OR.T @ W_OI  # = S V^T, exact for these Q: the product Q P is the projection of W
    root_R = P_RI.norm(dim=1).clamp_min(torch.finfo(W_OI.dtype).tiny).sqrt()
    return Q_OR * root_R, P_RI / root_R[:, None]
