"""8-bit products in torch: the module that takes a linear layer's place, on the kernels for x86."""

from __future__ import annotations

import itertools
import warnings
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from autocompress.machine.instructions import weight_bits
from autocompress.models.simulation import fused_codes

ENGINE = "fbgemm"  # the kernels for 8-bit products on x86
INPUT = ("input_scale", "input_zero_point", "input_smooth")  # what a plan may give of a layer's input
_NUMBERS, _AT_WORK = itertools.count(), WeakValueDictionary[int, "IntegerProduct"]()


def on_grid(x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """`rounding.round_input` as the kernels do it."""
    return (fused_codes(x, 1 / scale, zero_point) - zero_point) * scale


class IntegerProduct(nn.Module):
    """x Wᵀ + b of 8-bit codes, added up in 32 bits.

    Inputs are rounded on the grid given; or each token on that of its own range, brought to [-1, 1] before and back
    after; or all on that of their range.
    """

    number: Tensor
    bias_O: Tensor | None
    smooth_I: Tensor | None

    def __init__(
        self,
        q_OI: Tensor,
        scale_O: Tensor,
        bias_O: Tensor | None,
        inputs: dict[str, Tensor],
        *,
        per_token: bool = False,
    ) -> None:
        super().__init__()
        if weight_bits() == 7:
            q_OI, scale_O = (q_OI / 2).round().to(torch.int8), 2 * scale_O
        self._packed, self._outputs = _packed(q_OI, scale_O, None if per_token else bias_O), len(q_OI)
        self._per_token = per_token
        self._grid = [1 / 127, 128.0] if per_token else [inputs[name].item() for name in INPUT[:2] if name in inputs]
        self.register_buffer("bias_O", bias_O, persistent=False)
        self.register_buffer("smooth_I", inputs.get("input_smooth"), persistent=False)
        self.register_buffer("number", torch.tensor(next(_NUMBERS)), persistent=False)
        # T5 asks for its type, and would turn what it multiplies into any other than this
        self.register_buffer("weight", torch.empty(0, dtype=torch.int8), persistent=False)
        _AT_WORK[int(self.number)] = self

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.smooth_I is None else x / self.smooth_I
        return self._by_token(x) if self._per_token else self._run(x)

    def _by_token(self, x: Tensor) -> Tensor:
        largest = x.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        y = self._run(x / largest)
        return y * largest if self.bias_O is None else torch.addcmul(self.bias_O, y, largest)

    def _run(self, x: Tensor) -> Tensor:
        return _opaque(x, self.number, self._outputs) if torch.compiler.is_compiling() else self.product(x)

    def product(self, x: Tensor) -> Tensor:
        y: Tensor
        if self._grid:
            scale, zero = self._grid
            y = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(x, scale, int(zero), self._packed)
        else:
            y = torch.ops.quantized.linear_dynamic(x, self._packed, False)
        return y


@torch.library.custom_op("autocompress::int8_product", mutates_args=())
def _opaque(x: Tensor, number: Tensor, outputs: int) -> Tensor:
    """The product of layer `number` as one operator of compiled code: torch.compile cannot look into packed weights.

    As `torch._int_mm` and what goes with it, which it can, MiniLM took 1.2 times as long, and to compile 2.5 times. The
    number is a tensor so that models of equal shapes share their compiled code.
    """
    return _AT_WORK[int(number)].product(x)


@_opaque.register_fake
def _(x: Tensor, number: Tensor, outputs: int) -> Tensor:
    return x.new_empty(*x.shape[:-1], outputs)


def _packed(q_OI: Tensor, scale_O: Tensor, bias_O: Tensor | None) -> object:
    """The weight as the eager kernel reads it."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = ENGINE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tensors with a quantized type are to go from torch some day
            zero_O = torch.zeros(len(q_OI), dtype=torch.long)
            W_OI = torch._make_per_channel_quantized_tensor(q_OI, scale_O.double(), zero_O, 0)
            return torch.ops.quantized.linear_prepack(W_OI, bias_O)
    finally:
        torch.backends.quantized.engine = before
