"""A precision plan in torch: codes and scales in the file, and layers that compute with them.

Of a layer whose format has codes the file holds `<path>.codes`, packed, and what they stand for, `<path>.scale` or
`<path>.codebook`, instead of its weight. Weights that meet float inputs are turned into float32 once, when the file is
opened: to do so at every call takes 1.1 to 2.7 times as long on a CPU, and torch's own kernels for packed weights 1.05
to 86 times.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autocompress.errors import ConfigError
from autocompress.models import formats, storage
from autocompress.models.formats.grid import Grid
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
        format_, given = formats.find(precision.weight), plan.given(path)
        if format_.dtype is not None:
            own = [f"{path}.{n}" for n, p in model.get_submodule(path).named_parameters(recurse=False) if p.ndim > 1]
            tensors |= {name: tensors[name].to(format_.dtype) for name in own if name not in again}
            continue
        if f"{path}.weight" in again:
            continue
        W_OI = weight_OI(model.get_submodule(path))
        W_OI = W_OI * given["input_smooth"] if "input_smooth" in given else W_OI
        stored = format_.encode(W_OI, precision, given) | {name: given[name] for name in INPUT if name in given}
        del tensors[f"{path}.weight"]
        tensors |= {f"{path}.{name}": tensor for name, tensor in stored.items()}
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
        if formats.find(precision.weight).dtype is None and not told:
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
    apart = ("weight_scale", "input_smooth")  # a grid that is not told by the weight
    own = any(plan.scale(path, name) is not None for path in paths for name in apart)
    return one == other and not own and (one is None or not one.activation.endswith("int8"))


def computes_in(plan: PrecisionPlan) -> torch.dtype | None:
    """The two-byte format that the whole model computes in, if it does."""
    for precision in plan.values():
        if precision.activation == precision.weight:
            return formats.find(precision.weight).dtype
    return None


def _fill_coded(model: nn.Module, path: str, precision: Precision, tensors: Tensors) -> None:
    module, format_ = model.get_submodule(path), formats.find(precision.weight)
    names = ("codes", "scale", "codebook", *INPUT)
    held = {name: tensors.pop(f"{path}.{name}") for name in names if f"{path}.{name}" in tensors}
    O, I = weight_OI(module).shape
    _check(path, O, I, precision, held)
    if precision.activation != "float32" and isinstance(format_, Grid):
        bias_O, scale_O = tensors.pop(f"{path}.bias", None), held["scale"].flatten().expand(O).contiguous()
        q_OI = format_.unpacked(held, I)
        replace(model, path, IntegerProduct(q_OI, scale_O, bias_O, held, per_token=precision.per_token))
        return
    W_OI = format_.decode(held, I, precision) / held.get("input_smooth", 1.0)
    tensors[f"{path}.weight"] = W_OI.T.contiguous() if holds_transposed(module) else W_OI


def _check(path: str, O: int, I: int, precision: Precision, held: Tensors) -> None:
    """Raise `ConfigError` unless codes and scales are of the shapes that follow from the module's: none is trusted."""
    format_ = formats.find(precision.weight)
    if fault := format_.fault(precision):
        raise ConfigError(f"{path}: its precision should be one of {precision.weight}. Got {fault}. Export it again.")
    static = {"input_scale": (), "input_zero_point": ()} if precision.activation == "static_int8" else {}
    smooth = {"input_smooth": (I,)} if "input_smooth" in held else {}
    asked = format_.shapes(O, I, precision) | static | smooth
    found = {name: tuple(tensor.shape) for name, tensor in held.items()}
    if found != asked:
        raise ConfigError(
            f"{path}: its codes and scales should be of the shapes {asked}. Got {found}. Export the model again."
        )
    if held["codes"].dtype not in (torch.int8, torch.uint8):
        raise ConfigError(f"{path}: its codes should be bytes. Got {held['codes'].dtype}. Export the model again.")
