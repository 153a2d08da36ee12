"""Numbers that are a code times a scale. Group g of a row shares one: `scale_OG` broadcasts to (O, G, group)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from autocompress.models.formats import Format, Tensors, packing
from autocompress.models.precision_plan import Precision

TINY = torch.finfo(torch.float32).tiny
_LEAST_GROUP = 16  # that runtimes have kernels for


class Grid(Format):
    """Codes from `lowest` to `highest`."""

    def __init__(self, bits: int, lowest: int, highest: int) -> None:
        self.bits, self.lowest, self.highest = bits, lowest, highest

    def unit(self, W_OGg: Tensor) -> Tensor:
        """The scale of each group, by its weights: (O, G)."""
        raise NotImplementedError

    def scale(self, W_OI: Tensor, precision: Precision) -> Tensor:
        """The scale of each group, by its weights: (O, G), or (1, 1) for all."""
        W_OGg = grouped(W_OI, group_of(precision, W_OI.shape[1]))
        if not (precision.per_channel or precision.group_size):
            W_OGg = W_OGg.reshape(1, 1, -1)
        return self.unit(W_OGg)

    def codes(self, W_OI: Tensor, scale_OG: Tensor, precision: Precision) -> Tensor:
        """The nearest code of every weight: (O, I), int8."""
        W_OGg = grouped(W_OI, group_of(precision, W_OI.shape[1]))
        q_OGg = (W_OGg / scale_OG[..., None]).round().clamp(self.lowest, self.highest)
        return q_OGg.flatten(1)[:, : W_OI.shape[1]].to(torch.int8)

    def values(self, q_OI: Tensor, scale_OG: Tensor, precision: Precision) -> Tensor:
        """What the codes stand for: (O, I)."""
        W_OGg = grouped(q_OI.float(), group_of(precision, q_OI.shape[1])) * scale_OG[..., None]
        return W_OGg.flatten(1)[:, : q_OI.shape[1]]

    def round(self, W_OI: Tensor, precision: Precision, given: Tensors) -> Tensor:
        scale_OG = given["weight_scale"] if "weight_scale" in given else self.scale(W_OI, precision)
        return self.values(self.codes(W_OI, scale_OG, precision), scale_OG, precision)

    def encode(self, W_OI: Tensor, precision: Precision, given: Tensors) -> dict[str, Tensor]:
        scale_OG = given["weight_scale"] if "weight_scale" in given else self.scale(W_OI, precision)
        q_OI = self.codes(W_OI, scale_OG, precision)
        if self.bits < 8:  # unsigned, the filling a zero too
            q_OI = F.pad(q_OI, (0, -q_OI.shape[1] % (8 // self.bits))) - self.lowest
            q_OI = packing.pack(q_OI, self.bits)
        return {"codes": q_OI, "scale": scale_OG}

    def unpacked(self, stored: Tensors, I: int) -> Tensor:
        """The codes (O, I), int8, of what is stored."""
        if self.bits == 8:
            return stored["codes"]
        return packing.unpack(stored["codes"], self.bits, I).to(torch.int8) + self.lowest

    def decode(self, stored: Tensors, I: int, precision: Precision) -> Tensor:
        return self.values(self.unpacked(stored, I), stored["scale"], precision)

    def shapes(self, O: int, I: int, precision: Precision) -> dict[str, tuple[int, ...]]:
        groups = -(-I // group_of(precision, I))
        several = precision.per_channel or precision.group_size
        return {"codes": (O, packing.width(I, self.bits)), "scale": (O, groups) if several else (1, 1)}

    def bytes(self, O: int, I: int, precision: Precision) -> float:
        return O * I * self.bits / 8 + 4 * math.prod(self.shapes(O, I, precision)["scale"])


def group_of(precision: Precision, I: int) -> int:
    """How many adjacent inputs share a scale: never more than the power of two that holds all of them."""
    if not precision.group_size:
        return I
    return min(precision.group_size, max(_LEAST_GROUP, 1 << (I - 1).bit_length()))


def grouped(W_OI: Tensor, group: int) -> Tensor:
    """(O, G, group), the last group filled up with zeros."""
    return F.pad(W_OI, (0, -W_OI.shape[1] % group)).reshape(W_OI.shape[0], -1, group)
