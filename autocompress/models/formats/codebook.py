"""2^bits numbers that all weights of a matrix share, and of every weight the number of the one that it takes.

They are found by k-means, which leaves the least squared error that it finds (Han et al. 2015, "Deep Compression",
arXiv:1510.00149, section 3: begun with numbers evenly spaced from the least weight to the largest).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from autocompress.models.formats import Format, Tensors, packing
from autocompress.models.precision_plan import Precision

_SAMPLE = 1 << 18  # weights that tell how all are spread


class SharedNumbers(Format):
    """`codebook` (K,), ascending, and codes (O, I)."""

    def fault(self, precision: Precision) -> str:
        return "" if precision.bits in packing.LEGAL else f"codes of {precision.bits} bits"

    def codes(self, W_OI: Tensor, codebook_K: Tensor) -> Tensor:
        """The number of the nearest of the shared numbers: (O, I), uint8."""
        between = (codebook_K[1:] + codebook_K[:-1]) / 2
        return torch.bucketize(W_OI.contiguous(), between, out_int32=True).to(torch.uint8)

    def encode(self, W_OI: Tensor, precision: Precision, given: Tensors) -> dict[str, Tensor]:
        codebook_K = given["codebook"]
        return {"codes": packing.pack(self.codes(W_OI, codebook_K), precision.bits), "codebook": codebook_K}

    def decode(self, stored: Tensors, I: int, precision: Precision) -> Tensor:
        of_byte = stored["codebook"][packing.of_byte(precision.bits).int()]  # at once what the codes in it stand for
        return F.embedding(stored["codes"].int(), of_byte).flatten(1)[:, :I].contiguous()

    def shapes(self, O: int, I: int, precision: Precision) -> dict[str, tuple[int, ...]]:
        return {"codes": (O, packing.width(I, precision.bits)), "codebook": (1 << precision.bits,)}

    def bytes(self, O: int, I: int, precision: Precision) -> float:
        return O * I * precision.bits / 8 + 4 * (1 << precision.bits)


@torch.no_grad()
def fit(W: Tensor, bits: int, seed: int, rounds: int = 50) -> Tensor:
    """The codebook (K,) of these weights by at most so many `rounds` of k-means; of many weights, by a sample.

    A number that no weight takes stays where it is. Sorted, the weights that take a number lie side by side, so that a
    round costs K searches and not a comparison of every weight with every number.
    """
    w_N = W.detach().flatten().double()
    codebook_K = torch.linspace(w_N.min().item(), w_N.max().item(), 2**bits, dtype=torch.float64)
    if len(w_N) > _SAMPLE:
        random = torch.Generator().manual_seed(seed)
        w_N = w_N[torch.randint(len(w_N), (_SAMPLE,), generator=random)]
    w_N = w_N.sort().values
    sums = torch.cat([w_N.new_zeros(1), w_N.cumsum(0)])
    for _ in range(rounds):
        ends = torch.searchsorted(w_N, (codebook_K[1:] + codebook_K[:-1]) / 2, right=True)
        ends = torch.cat([ends.new_zeros(1), ends, ends.new_tensor([len(w_N)])])
        counts_K = ends.diff()
        moved_K = torch.where(counts_K > 0, sums[ends].diff() / counts_K.clamp_min(1), codebook_K)
        if torch.equal(moved_K, codebook_K):
            break
        codebook_K = moved_K
    return codebook_K.float()


FORMAT = SharedNumbers()
