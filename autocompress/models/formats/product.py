"""Product quantization of a table: parts of its rows, each the one of 2^bits shared parts that is nearest to it.

A row of D numbers is M = D / d parts of `group_size` d. Place m of a row has a codebook of its own, found by k-means
over the parts that all rows have there (Jégou et al. 2011, "Product Quantization for Nearest Neighbor Search").
"""

from __future__ import annotations

import torch
from torch import Tensor

from autocompress.models.formats import Format, Tensors, packing
from autocompress.models.formats.grid import grouped
from autocompress.models.precision_plan import Precision

_SAMPLE, _LEAST_SAMPLE = 40, 4096  # rows for each shared part, and in all, that tell how all are spread
_WIDEST = 64  # numbers in a part
_AT_ONCE = 2048  # rows whose distances to all shared parts are held: so that a cache holds them


class SharedParts(Format):
    """`codebook` (M, K, d), and codes (V, M)."""

    def fault(self, precision: Precision) -> str:
        if precision.bits not in packing.LEGAL:
            return f"codes of {precision.bits} bits"
        legal = isinstance(precision.group_size, int) and 1 <= precision.group_size <= _WIDEST
        return "" if legal else f"parts of {precision.group_size} numbers"

    def codes(self, W_VD: Tensor, codebook_MKd: Tensor) -> Tensor:
        """The numbers of the nearest shared parts: (V, M), uint8."""
        W_VMd = grouped(W_VD, codebook_MKd.shape[2])
        return torch.stack([nearest(W_VMd[:, m], C_Kd) for m, C_Kd in enumerate(codebook_MKd)], 1).to(torch.uint8)

    def encode(self, W_OI: Tensor, precision: Precision, given: Tensors) -> dict[str, Tensor]:
        codebook_MKd = given["codebook"]
        return {"codes": packing.pack(self.codes(W_OI, codebook_MKd), precision.bits), "codebook": codebook_MKd}

    def decode(self, stored: Tensors, I: int, precision: Precision) -> Tensor:
        codebook_MKd = stored["codebook"]
        M = len(codebook_MKd)
        q_VM = packing.unpack(stored["codes"], precision.bits, M).int()
        return codebook_MKd[torch.arange(M), q_VM].flatten(1)[:, :I]

    def shapes(self, O: int, I: int, precision: Precision) -> dict[str, tuple[int, ...]]:
        M, d = -(-I // precision.group_size), precision.group_size
        return {"codes": (O, packing.width(M, precision.bits)), "codebook": (M, 1 << precision.bits, d)}

    def bytes(self, O: int, I: int, precision: Precision) -> float:
        M, d = -(-I // precision.group_size), precision.group_size
        return O * M * precision.bits / 8 + 4 * M * d * (1 << precision.bits)


def nearest(x_Nd: Tensor, C_Kd: Tensor) -> Tensor:
    """Which row of C is nearest to each of x: (N,). By |x - c|² less |x|², which is alike for all."""
    size_K = C_Kd.square().sum(1)
    parts = torch.split(x_Nd, _AT_ONCE)
    return torch.cat([torch.addmm(size_K, part, C_Kd.T, alpha=-2).argmin(1) for part in parts])


@torch.no_grad()
def fit(W_VD: Tensor, precision: Precision, seed: int, rounds: int = 10) -> Tensor:
    """The codebook (M, K, d) of a table by so many `rounds` of k-means, begun with parts of K of its rows.

    Of a long table by a sample of its rows. A shared part that no row takes stays where it is.
    """
    K, random = 1 << precision.bits, torch.Generator().manual_seed(seed)
    order = torch.randperm(len(W_VD), generator=random)[: max(_LEAST_SAMPLE, _SAMPLE * K)]
    W_VMd = grouped(W_VD.detach()[order].float(), precision.group_size)
    codebook = []
    for m in range(W_VMd.shape[1]):
        x_Nd = W_VMd[:, m].contiguous()
        C_Kd = x_Nd[torch.arange(K) % len(x_Nd)].clone()
        for _ in range(rounds):
            own_N = nearest(x_Nd, C_Kd)
            counts_K = torch.bincount(own_N, minlength=K)[:, None]
            sums_Kd = torch.zeros_like(C_Kd).index_add_(0, own_N, x_Nd)
            C_Kd = torch.where(counts_K > 0, sums_Kd / counts_K.clamp_min(1), C_Kd)
        codebook.append(C_Kd)
    return torch.stack(codebook)


FORMAT = SharedParts()
