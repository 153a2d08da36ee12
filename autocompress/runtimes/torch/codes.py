"""A precision plan in torch: codes and scales in the file, and layers that compute with them.

Of a layer with 8 or 4 bits the file holds `<path>.codes` (int8; of 4 bits two a byte) and `<path>.scale` instead of its
weight. Weights that meet float inputs are turned into float32 once, when the file is opened: to do so at every call
takes 1.1 to 2.7 times as long on a CPU, and torch's own kernels for packed weights 1.05 to 86 times.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.errors import ConfigError
from autocompress.models import simulation, storage
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.models.surgery import holds_transposed, replace, weight_OI
from autocompress.runtimes.torch.product import INPUT, IntegerProduct

Tensors = dict[str, Tensor]


def encode(model: nn.Module, plan: PrecisionPlan) -> Tensors:
    """What the file holds: the model's tensors, those of planned layers as the plan says.

    What has several names, as T5's table, is stored under the first, where the plan says the same of all.
    """
    again = {name for name, first in storage.tied(model).items() if first != name and _alike(name, first, plan)}
    several = {name for name, first in storage.tied(model).items() if first != name}
    tensors = {
        name: tensor.detach().clone() if name in several else tensor.detach()
        for name, tensor in model.state_dict().items() if name not in again
    }  # fmt: skip
    for path, precision in plan.items():
        if precision.weight in simulation.HALVES:
            own = [f"{path}.{n}" for n, p in model.get_submodule(path).named_parameters(recurse=False) if p.ndim > 1]
            tensors |= {name: tensors[name].to(_dtype(precision)) for name in own if name not in again}
            continue
        if f"{path}.weight" in again:
            continue
        W_OI, scale_OG = _planned_weight(model.get_submodule(path), path, plan)
        q_OI = simulation.codes(W_OI, scale_OG, precision)
        del tensors[f"{path}.weight"]
        tensors |= {f"{path}.codes": _pack(q_OI, precision), f"{path}.scale": scale_OG}
        given = {f"{path}.{name}": plan.scale(path, name) for name in INPUT}
        tensors |= {name: tensor for name, tensor in given.items() if tensor is not None}
    if half := computes_in(plan):
        tensors = {name: t.to(half) if t.is_floating_point() else t for name, t in tensors.items()}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def fill(model: nn.Module, tensors: Tensors, plan: PrecisionPlan) -> nn.Module:
    """The inverse of `encode` for a model whose parameters hold nothing yet. Empties `tensors`.

    Raises `ConfigError` where codes and scales are not of the shapes that the model and the plan ask for.
    """
    ties = storage.tied(model)
    for path, precision in plan.items():
        weight = f"{path}.weight"
        told = ties.get(weight, weight) != weight and f"{path}.codes" not in tensors  # by its first name
        if precision.weight not in simulation.HALVES and not told:
            _fill_coded(model, path, precision, tensors)
    if not computes_in(plan):
        tensors = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    missing = model.state_dict().keys() - tensors.keys()
    again = {name: tensors[first] for name, first in ties.items() if name in missing and first in tensors}
    model.load_state_dict(tensors | again, assign=True)
    if again:  # each name was given a parameter of its own
        storage.tie(model, {name: ties[name] for name in again})
    return model


def _alike(name: str, first: str, plan: PrecisionPlan) -> bool:
    """Whether two names of one parameter have the same precision, and the layers are no products of codes."""
    paths = [each.rpartition(".")[0] for each in (name, first)]
    one, other = (plan.get(path) for path in paths)
    own = any(plan.scale(path, "weight_scale") is not None for path in paths)  # a grid that is not told by the weight
    return one == other and not own and (one is None or not one.activation.endswith("int8"))


def computes_in(plan: PrecisionPlan) -> torch.dtype | None:
    """The two-byte format that the whole model computes in, if it does."""
    for precision in plan.values():
        if precision.activation in simulation.HALVES:
            return _dtype(precision)
    return None


def _planned_weight(module: nn.Module, path: str, plan: PrecisionPlan) -> tuple[Tensor, Tensor]:
    """The weight (O, I) as it is to be rounded, and the scale (O, G) of its grid."""
    W_OI, smooth_I, scale_OG = weight_OI(module), plan.scale(path, "input_smooth"), plan.scale(path, "weight_scale")
    W_OI = W_OI if smooth_I is None else W_OI * smooth_I
    return W_OI, simulation.weight_scale(W_OI, plan[path]) if scale_OG is None else scale_OG


def _fill_coded(model: nn.Module, path: str, precision: Precision, tensors: Tensors) -> None:
    module = model.get_submodule(path)
    held = {name: tensors.pop(f"{path}.{name}") for name in ("codes", "scale", *INPUT) if f"{path}.{name}" in tensors}
    O, I = weight_OI(module).shape
    _check(path, O, I, precision, held)
    q_OI, scale_OG = _unpack(held["codes"], I, precision), held["scale"]
    if precision.activation != "float32":
        bias_O, scale_O = tensors.pop(f"{path}.bias", None), scale_OG.flatten().expand(O).contiguous()
        replace(model, path, IntegerProduct(q_OI, scale_O, bias_O, held, per_token=precision.per_token))
        return
    W_OI = simulation.decode(q_OI, scale_OG, precision) / held.get("input_smooth", 1.0)
    tensors[f"{path}.weight"] = W_OI.T.contiguous() if holds_transposed(module) else W_OI


def _check(path: str, O: int, I: int, precision: Precision, held: Tensors) -> None:
    """Raise `ConfigError` unless codes and scales are of the shapes that follow from the module's: none is trusted."""
    groups = -(-I // simulation.group_of(precision, I))
    several = precision.per_channel or precision.group_size
    asked = {"codes": (O, -(-I // _PER_BYTE[precision.weight])), "scale": (O, groups) if several else (1, 1)}
    static = {"input_scale": (), "input_zero_point": ()} if precision.activation == "static_int8" else {}
    smooth = {"input_smooth": (I,)} if "input_smooth" in held else {}
    found = {name: tuple(tensor.shape) for name, tensor in held.items()}
    if found != asked | static | smooth:
        raise ConfigError(
            f"{path}: its codes and scales should be of the shapes {asked | static | smooth}. "
            f"Got {found}. Export the model again."
        )


_PER_BYTE = {"int8": 1, "int4": 2}


def _pack(q_OI: Tensor, precision: Precision) -> Tensor:
    """Codes of 4 bits two a byte, their zero in the middle."""
    if precision.weight == "int8":
        return q_OI
    return simulation.two_a_byte(F.pad(q_OI, (0, q_OI.shape[1] % 2)) + 8)


def _unpack(packed: Tensor, I: int, precision: Precision) -> Tensor:
    if precision.weight == "int8":
        return packed
    u_OI = torch.stack((packed & 15, packed >> 4), -1).flatten(1)[:, :I]
    return u_OI.to(torch.int8) - 8


def _dtype(precision: Precision) -> torch.dtype:
    return simulation.HALVES[precision.weight]
