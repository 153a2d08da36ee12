"""int8 for the layers that bear it, float16 for those that do not: each layer's precision by its measured sensitivity.

Sensitivity of a layer, by `metric`: `fisher` = Σ E[g²] (W - Q(W))², g the gradient of a text's loss in W: what rounding
the weights adds to the loss, to second order; `kl` = the mean Kullback-Leibler divergence of the model's answers when
that layer alone is quantized, inputs too. Then the most sensitive layers stay in float16, as few as keep the labels of
at least 1 - `drop` of the calibration texts what they were (found by bisection).

After Dong et al. 2019, "HAWQ", arXiv:1905.03696, and Shen et al. 2019, "Q-BERT", arXiv:1909.05840. Departures: bits
that have kernels, a bound on what is lost instead of on bytes, and the diagonal of the Fisher matrix for the Hessian.

A rehearsal does not know how sensitive the trained layers will be and assumes that all of them bear int8: its size and
latency are the least that the real run can have. Memory: with `fisher` a gradient for every weight of the layers, then
two rounded copies of the model while the bound is sought.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.methods.context import Context
from autocompress.models.families.places import plan_products
from autocompress.models.forward import forward
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.models.rotation import spread_pairs
from autocompress.models.simulation import round_weight, simulate
from autocompress.models.surgery import holds_transposed, products, token_tables, weight_OI
from autocompress.space.distributions import Choice, Range
from autocompress.space.method import Gain, Method, Stage
from autocompress.tasks.dataset import Batch
from autocompress.tasks.kind import Answer, TaskKind

_INT8 = Precision("int8", "dynamic_int8", per_channel=True, per_token=True)
_FLOAT16 = Precision("float16")


class MixedPrecision(Method):
    """Nearly the bytes and latency of int8_dynamic for models that lose too much by it."""

    stage: ClassVar[Stage] = "lower"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes", "latency")

    drop: Annotated[float, Field(ge=0, lt=1), Range(0.0, 0.1)] = 0.05
    metric: Annotated[Literal["fisher", "kl"], Choice(("fisher", "kl"))] = "fisher"

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        spread_pairs(model)
        layers = list(products(model))
        if ctx.train is not None:
            measure = fisher if self.metric == "fisher" else divergence
            sensitivity = measure(model, layers, ctx.calibration[0], ctx.kind)
            layers = bearable(model, sorted(layers, key=sensitivity.__getitem__), ctx.calibration, self.drop, ctx.kind)
        plan_products(model, ctx.precision, layers, _INT8)
        ctx.precision.add(products(model).keys() - set(layers), _FLOAT16)
        ctx.precision.add(token_tables(model), Precision("int8", per_channel=True))
        return model


def bearable(model: nn.Module, layers: list[str], batches: list[Batch], drop: float, kind: TaskKind) -> list[str]:
    """The longest beginning of `layers` that may be quantized together without changing more than `drop` of answers."""
    before = answers(model, batches, kind)
    low, high = 0, len(layers)  # `low` of them are known to be bearable
    while low < high:
        middle = (low + high + 1) // 2
        after = answers(simulate(model, int8(model, layers[:middle])), batches, kind)
        same = sum(a == b for a, b in zip(before, after, strict=True))
        low, high = (middle, high) if same >= (1 - drop) * len(before) else (low, middle - 1)
    return layers[:low]


def fisher(model: nn.Module, layers: list[str], batch: Batch, kind: TaskKind) -> dict[str, float]:
    """By path: Σ g² (W - Q(W))², g² summed over the batch's texts."""
    modules = [model.get_submodule(path) for path in layers]
    weights: list[Tensor] = [module.weight for module in modules]  # type: ignore[misc]
    found = dict.fromkeys(layers, 0.0)
    model.eval()
    for i in range(len(batch["input_ids"])):
        text = {name: tensor[i : i + 1] for name, tensor in batch.items()}
        with torch.enable_grad():
            loss = kind.loss(forward(model, text, frozenset({"logits"})).logits, text).sum()
            gradients = torch.autograd.grad(loss, weights)
        for path, module, g in zip(layers, modules, gradients, strict=True):
            D_OI = weight_OI(module) - round_weight(weight_OI(module), _INT8)  # anew: to keep all would be a model more
            found[path] += float(((g.T if holds_transposed(module) else g) * D_OI).square().sum())
    return found


def divergence(model: nn.Module, layers: list[str], batch: Batch, kind: TaskKind) -> dict[str, float]:
    """By path: the mean KL(p ‖ q) over the batch, q the answers with that layer quantized."""
    p = logits(model, batch)
    found = {}
    for path in layers:
        with _rounded(model, path):
            q = logits(model, batch)
        found[path] = float(kind.distil(q, p, batch, 1.0).mean())
    return found


@contextmanager
def _rounded(model: nn.Module, path: str) -> Iterator[None]:
    """One layer computes with rounded numbers meanwhile: a copy of it alone, where `simulate` copies the model."""
    layer = model.get_submodule(path)
    places = [name for name, m in model.named_modules(remove_duplicate=False) if m is layer]
    alone = PrecisionPlan({"layer": int8(model, [path])[path]})
    rounded = simulate(nn.ModuleDict({"layer": layer}), alone).get_submodule("layer")
    try:
        for place in places:
            model.set_submodule(place, rounded)
        yield
    finally:
        for place in places:
            model.set_submodule(place, layer)


def int8(model: nn.Module, paths: Iterable[str]) -> PrecisionPlan:
    plan = PrecisionPlan()
    plan_products(model, plan, list(paths), _INT8)
    return plan


def answers(model: nn.Module, batches: list[Batch], kind: TaskKind) -> list[Answer]:
    """What the model answers to each of the texts."""
    return [answer for batch in batches for answer in kind.answers(logits(model, batch).numpy(), batch)]


@torch.no_grad()
def logits(model: nn.Module, batch: Batch) -> Tensor:
    return forward(model.eval(), batch, frozenset({"logits"})).logits
