"""What a precision rounds to, and a module that computes with rounded numbers: a plan's simulation in torch.

Weights are rounded as their format says. Inputs have codes 0 to 255 on a grid scale · (code - zero point).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.models import formats
from autocompress.models.formats import packing
from autocompress.models.formats.grid import TINY, Grid, group_of, grouped
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.models.surgery import weight_OI

__all__ = [
    "codes", "decode", "fused_codes", "group_of", "grouped", "input_grid", "planned", "round_groups", "round_input",
    "round_module", "round_weight", "simulate", "two_a_byte", "weight_scale",
]  # fmt: skip
OnGrid = Callable[[Tensor, Tensor, Tensor], Tensor]


def grid(precision: Precision) -> Grid:
    """The format of weights that are codes times scales. A `TypeError` if they are none."""
    found = formats.find(precision.weight)
    if not isinstance(found, Grid):
        raise TypeError(f"{precision.weight} has no scales")
    return found


def weight_scale(W_OI: Tensor, precision: Precision) -> Tensor:
    """The scale of every group of weights: (O, G), or (1, 1) for all."""
    return grid(precision).scale(W_OI, precision)


def planned(W_OI: Tensor, path: str, plan: PrecisionPlan) -> tuple[Tensor, Tensor]:
    """The weight (O, I) of the module at `path` as it is to be rounded, and the scale (O, G) of its grid."""
    smooth_I, scale_OG = plan.scale(path, "input_smooth"), plan.scale(path, "weight_scale")
    if smooth_I is not None:
        W_OI = W_OI * smooth_I
    return W_OI, weight_scale(W_OI, plan[path]) if scale_OG is None else scale_OG


def codes(W_OI: Tensor, scale_OG: Tensor, precision: Precision) -> Tensor:
    """The nearest code of every weight: (O, I), int8."""
    return grid(precision).codes(W_OI, scale_OG, precision)


def decode(q_OI: Tensor, scale_OG: Tensor, precision: Precision) -> Tensor:
    """What the codes stand for: (O, I)."""
    return grid(precision).values(q_OI, scale_OG, precision)


def round_weight(W_OI: Tensor, precision: Precision, scale_OG: Tensor | None = None) -> Tensor:
    """The nearest point of the grid to every weight."""
    given = {} if scale_OG is None else {"weight_scale": scale_OG}
    return formats.find(precision.weight).round(W_OI, precision, given)


def input_grid(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """(scale, zero point) of the 256 codes over [low, high], widened to hold 0. As ONNX's DynamicQuantizeLinear."""
    low, high = low.clamp_max(0), high.clamp_min(0)
    scale = ((high - low) / 255).clamp_min(TINY)
    return scale, (-low / scale).round().clamp(0, 255)


def round_input(x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """The nearest point of the grid to every number; what lies beyond its ends becomes the end."""
    return ((x / scale).round().add(zero_point).clamp(0, 255) - zero_point) * scale


def fused_codes(x: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """The nearest codes to x · factor + shift, of which a fused multiply-add, unlike float32's two steps, rounds once.

    With exact products, so float64: some numbers next to the middle between two codes get the other one.
    """
    return (x.double() * factor.double() + shift.double()).float().round().clamp(0, 255)


def round_groups(x: Tensor, group: int) -> Tensor:
    """Signed 8-bit codes with one scale for `group` adjacent numbers: how kernels for packed weights read floats."""
    x_Gg = F.pad(x, (0, -x.shape[-1] % group)).reshape(*x.shape[:-1], -1, group)
    scale_G1 = (x_Gg.abs().amax(-1, keepdim=True) / 127).clamp_min(TINY)
    return ((x_Gg / scale_G1).round() * scale_G1).flatten(-2)[..., : x.shape[-1]]


def simulate(
    model: nn.Module, plan: PrecisionPlan, *, on_grid: OnGrid = round_input, rounds_groups: bool = False,
    input_groups: Mapping[str, int] | None = None,
) -> nn.Module:  # fmt: skip
    """A copy of `model` that computes in float32 with the rounded numbers that the plan says.

    `on_grid`: how the runtime does what `round_input` does. In what order it multiplies and adds decides about numbers
    next to the middle between two codes, and one code that differs moves others in every later layer.
    `rounds_groups`: also round the float inputs of packed weights, as a runtime may that multiplies in 8 bits.
    `input_groups`: by path how many adjacent numbers of an input share a scale, in a runtime that so rounds dynamic and
    float inputs; those of other paths it leaves alone.
    """
    simulated = copy.deepcopy(model)
    _part(simulated, plan)
    for path, precision in plan.items():
        module = simulated.get_submodule(path)
        smooth_I = plan.scale(path, "input_smooth")
        round_module(module, precision, plan.given(path))
        scale, zero_point = plan.scale(path, "input_scale"), plan.scale(path, "input_zero_point")
        if input_groups is not None and precision.activation != "static_int8":
            if path in input_groups:
                module.register_forward_pre_hook(_Grouped(input_groups[path], smooth_I))
        elif precision.per_token:
            module.register_forward_pre_hook(_Grouped(weight_OI(module).shape[1], smooth_I))
        elif precision.activation.endswith("int8"):
            module.register_forward_pre_hook(_Rounded(on_grid, scale, zero_point, smooth_I))
        elif rounds_groups and precision.group_size and not isinstance(module, nn.Embedding):
            group = group_of(precision, weight_OI(module).shape[1])
            module.register_forward_pre_hook(_Grouped(group, smooth_I))
    return simulated


def _part(model: nn.Module, plan: PrecisionPlan) -> None:
    """Give modules that share a weight one each where they are rounded apart: a table, and the head that it is too."""
    several: dict[int, list[tuple[str, nn.Module]]] = {}
    for path, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter):
            several.setdefault(id(weight), []).append((path, module))
    for sharing in several.values():
        if len({plan.get(path) for path, _ in sharing}) > 1 or len({type(module) for _, module in sharing}) > 1:
            for path, module in sharing:
                if path in plan:
                    module.register_parameter("weight", nn.Parameter(module.get_parameter("weight").detach().clone()))


@torch.no_grad()
def round_module(module: nn.Module, precision: Precision, given: Mapping[str, Tensor]) -> None:
    """Put the module's matrices on the grid, in place: W · diag(smooth) if its input is divided by `smooth`."""
    format_ = formats.find(precision.weight)
    if format_.dtype is not None:
        for matrix in (p for p in module.parameters(recurse=False) if p.ndim > 1):
            matrix.copy_(format_.round(matrix, precision, given))
        return
    W_OI, smooth = weight_OI(module), given.get("input_smooth", torch.ones(()))
    W_OI.copy_(format_.round(W_OI * smooth, precision, given) / smooth)


def two_a_byte(codes: Tensor) -> Tensor:
    """Codes of 4 bits, signed or not, (..., 2n) -> (..., n) bytes, the first one in the lower half."""
    return packing.pack(codes.to(torch.uint8) & 15, 4)


class _Rounded:
    """A hook that rounds a module's input on the grid given, or on that of its own range."""

    def __init__(
        self, on_grid: OnGrid, scale: Tensor | None, zero_point: Tensor | None, smooth_I: Tensor | None
    ) -> None:
        self.on_grid, self.scale, self.zero_point = on_grid, scale, zero_point
        self.smooth = torch.ones(()) if smooth_I is None else smooth_I

    def __call__(self, module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        x = args[0] / self.smooth
        if self.scale is None or self.zero_point is None:
            scale, zero_point = input_grid(x.amin(), x.amax())
        else:
            scale, zero_point = self.scale, self.zero_point
        return (self.on_grid(x, scale, zero_point) * self.smooth,)


class _Grouped:
    """A hook that rounds a module's input by groups."""

    def __init__(self, group: int, smooth_I: Tensor | None) -> None:
        self.group, self.smooth = group, torch.ones(()) if smooth_I is None else smooth_I

    def __call__(self, module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        return (round_groups(args[0] / self.smooth, self.group) * self.smooth,)
