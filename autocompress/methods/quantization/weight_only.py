"""Store weights in `bits` bits, packed, one scale for `group_size` adjacent inputs; activations stay float.

Codes are -8 to 7 or -127 to 127. By `algorithm`, with X the inputs that calibration texts give a layer:
`rtn` rounds to nearest. `gptq` rounds column by column and lets the columns that are left make up for each error,
so that ‖WX - QX‖² is small, by the inverse of H = XXᵀ (Frantar et al. 2022, arXiv:2210.17323). `awq` first scales up
the columns whose inputs are large: s_i = mean|x_i|^a, the a of 0, 0.1, ..., 1 with the least error of Q(W s) s⁻¹ X
(Lin et al. 2023, arXiv:2306.00978).

Memory: the second moments of a group of layers, half as large together as the model, and a byte for each weight.

Departures: scales come from the weights before gptq changes them, and every X from the model before any layer is
rounded; awq divides its inputs in an operator of its own and does not search for clipping.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from autocompress.methods.context import Context
from autocompress.models.calibration import Moments, moments, observe, shares
from autocompress.models.precision_plan import Precision
from autocompress.models.rotation import spread_pairs
from autocompress.models.simulation import codes, decode, group_of, round_weight, weight_scale
from autocompress.models.surgery import products, token_tables, weight_OI
from autocompress.space.distributions import Choice, Neutral
from autocompress.space.method import Gain, Method, Stage

_BLOCK = 128  # columns whose errors are spread over the rest at once


class WeightOnly(Method):
    """A quarter or an eighth of the bytes; latency only where reading weights is what takes time: long decoders."""

    stage: ClassVar[Stage] = "lower"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes",)

    bits: Annotated[Literal[4, 8], Choice((4, 8)), Neutral(32)] = 4
    group_size: Annotated[Literal[32, 64, 128], Choice((32, 64, 128))] = 32
    algorithm: Annotated[Literal["rtn", "gptq", "awq"], Choice(("rtn", "gptq", "awq"))] = "gptq"
    embeddings: bool = True

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        spread_pairs(model)
        precision, layers = Precision("int4" if self.bits == 4 else "int8", group_size=self.group_size), products(model)
        scales: dict[str, Tensor] = {}
        if self.algorithm != "rtn":
            rounded: dict[str, Tensor] = {}  # put in place at the end: inputs are those of the model as given
            for share in shares(model, observe(model, layers, ctx.calibration, ctx.device)):
                known = moments(model, share, ctx.calibration, ctx.device)
                for path in share:
                    W_OI, seen = weight_OI(layers[path]), known[path]
                    if self.algorithm == "awq":
                        scales[f"{path}.input_smooth"] = awq(W_OI, seen, precision)
                        continue
                    scales[f"{path}.weight_scale"] = scale_OG = weight_scale(W_OI, precision)
                    rehearsed = ctx.train is None  # only the grid's shape matters then
                    Q_OI = round_weight(W_OI, precision, scale_OG) if rehearsed else gptq(W_OI, seen, precision)
                    rounded[path] = codes(Q_OI, scale_OG, precision)  # a byte a weight
            for path, q_OI in rounded.items():
                weight_OI(layers[path]).copy_(decode(q_OI, scales[f"{path}.weight_scale"], precision))
        ctx.precision.add(layers, precision, scales)
        if self.embeddings:
            ctx.precision.add(token_tables(model), precision)
        return model


def gptq(W_OI: Tensor, seen: Moments, precision: Precision) -> Tensor:
    """The weight on its grid, each column's error made up for by the columns after it."""
    scale_OG, group = weight_scale(W_OI, precision), group_of(precision, W_OI.shape[1])
    W_OI, I = W_OI.clone(), W_OI.shape[1]
    H_II = seen.H_II + torch.eye(I) * (0.01 * seen.H_II.diagonal().mean() + 1e-8)
    U_II = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(H_II)), upper=True)
    single = Precision(precision.weight, per_channel=True)
    for start in range(0, I, _BLOCK):
        end = min(start + _BLOCK, I)
        error_OB = torch.zeros(len(W_OI), end - start)
        for i in range(start, end):
            scale_O1, w_O1 = scale_OG[:, i // group, None], W_OI[:, i, None]
            q_O1 = decode(codes(w_O1, scale_O1, single), scale_O1, single)
            error_OB[:, i - start] = ((w_O1 - q_O1) / U_II[i, i]).squeeze(1)
            W_OI[:, i + 1 : end] -= error_OB[:, i - start, None] * U_II[i, i + 1 : end]
            W_OI[:, i] = q_O1.squeeze(1)
        W_OI[:, end:] -= error_OB @ U_II[start:end, end:]
    return W_OI


def awq(W_OI: Tensor, seen: Moments, precision: Precision) -> Tensor:
    """s (I,), by which inputs are divided and columns multiplied before they are rounded."""
    size_I = seen.size_I.clamp_min(1e-4)
    candidates = [size_I ** (step / 10) for step in range(11)]
    candidates = [s_I / (s_I.amax() * s_I.amin()).sqrt() for s_I in candidates]
    errors = [output_error(W_OI, round_weight(W_OI * s_I, precision) / s_I, seen) for s_I in candidates]
    return candidates[errors.index(min(errors))]


def output_error(W_OI: Tensor, Q_OI: Tensor, seen: Moments) -> float:
    """‖WX - QX‖² = tr(D XXᵀ Dᵀ) with D = W - Q."""
    D_OI = W_OI - Q_OI
    return float(((D_OI @ seen.H_II) * D_OI).sum())
