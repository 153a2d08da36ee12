"""Replace W (out x in) by U V such that what the task needs of it is lost least, with ranks layer by layer.

- `fisher`: least Σ_i f_i ‖w_i - (UV)_i‖² over the rows i of Wᵀ, the inputs, f_i the sum over the row of the Fisher
  information E[g²] of its weights (FWSVD).
- `activation`: least ‖(W - UV) X‖², X the inputs that calibration texts give the layer: the SVD of W L with L Lᵀ = X Xᵀ
  (SVD-LLM). Needs no labels.

All products of the layers together keep `keep` of their weights. Which ranks each has: the directions of all layers, by
the share of their layer's weighted squared norm that they hold for each weight that they cost, until `keep` is spent. A
layer whose rank would not make it smaller stays whole.

Hsu et al. 2022, "Language model compression with weighted low-rank factorization", arXiv:2207.00112; Wang et al. 2024,
"SVD-LLM", arXiv:2403.07378. Departure: both papers give every layer one ratio.

Memory: the second moments of a group of layers, half as large together as the model, the pairs made so far, and with
`fisher` a gradient and its square of every weight.

A rehearsal gives every layer the same share.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.methods.context import Context
from autocompress.methods.sparsity import layers_of
from autocompress.methods.weight_gradients import squared_gradients
from autocompress.models.calibration import Seen, moments, observe, shares
from autocompress.models.factored.linears import LowRankLinear
from autocompress.models.surgery import features, replace, weight_OI
from autocompress.space.distributions import Choice, Neutral, Range
from autocompress.space.method import Gain, Method, Stage

Roots = Iterator[tuple[str, Tensor]]


class WeightedLowRank(Method):
    """As low_rank, but by what the task needs of every matrix: less is lost before any training."""

    stage: ClassVar[Stage] = "factor"
    pays: ClassVar[tuple[Gain, ...]] = ("bytes", "latency")
    estimated: ClassVar[bool] = True

    keep: Annotated[float, Field(gt=0, lt=1), Range(0.25, 0.75), Neutral(1)] = 0.5
    weight: Annotated[Literal["fisher", "activation"], Choice(("fisher", "activation"))] = "activation"

    @torch.no_grad()
    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        layers = {path: layer for path, layer in layers_of(model, plain=True).items() if smaller(layer)}
        if not layers:
            raise NotApplicable("no matrix of this model's layers has a smaller pair")
        roots = self._roots(model, layers, ctx)
        energies = (
            {}
            if ctx.train is None
            else {path: torch.linalg.svdvals(weight_OI(layers[path]) @ root_II).square() for path, root_II in roots()}
        )
        ranks = self._ranks(layers, energies)
        if not ranks:
            raise NotApplicable(f"at keep={self.keep:g} no matrix has a smaller pair")
        # the roots a second time: to keep them all would take more than the model does
        pairs = {path: pair(layers[path], root_II, ranks[path]) for path, root_II in roots(ranks)}
        for path in ranks:
            replace(model, path, pairs[path])
        return model

    def _roots(self, model: nn.Module, layers: dict[str, nn.Module], ctx: Context) -> Callable[..., Roots]:
        """What goes through the layers, all or those asked for: the matrix L (I, I) by which it errs ‖(W - UV) L‖²."""
        if ctx.train is None:
            return lambda paths=(): ((path, torch.eye(features(layers[path])[0])) for path in paths)
        if self.weight == "fisher":
            rows = {path: (g.sum(0) + 1e-12).sqrt() for path, g in squared_gradients(model, layers, ctx).items()}
            return lambda paths=tuple(rows): ((path, torch.diag(rows[path])) for path in paths)
        groups = shares(model, observe(model, layers, ctx.calibration, ctx.device))
        return lambda paths=tuple(layers): _moment_roots(model, groups, paths, ctx)

    def _ranks(self, layers: dict[str, nn.Module], energies: dict[str, Tensor]) -> dict[str, int]:
        """The rank of every layer that gets one. `energies`: of the weighted matrix, none in a rehearsal."""
        sizes = {path: features(layer) for path, layer in layers.items()}
        if not energies:
            even = {path: int(self.keep * O * I / (O + I)) for path, (I, O) in sizes.items()}
            return {path: max(1, rank) for path, rank in even.items()}
        steps: list[tuple[float, str]] = []
        for path in layers:
            energy = energies[path]
            each = (energy / energy.sum() / sum(sizes[path]) * (sizes[path][0] * sizes[path][1])).tolist()
            steps += [(-value, path) for value in each]
        room = self.keep * sum(I * O for I, O in sizes.values())
        ranks = dict.fromkeys(layers, 1)
        spent = float(sum(sum(sizes[path]) for path in layers))
        firsts = set[str]()
        for _, path in sorted(steps):
            if path not in firsts:  # every layer has its first direction
                firsts.add(path)
            elif spent + sum(sizes[path]) <= room:
                ranks[path] += 1
                spent += sum(sizes[path])
        return {path: rank for path, rank in ranks.items() if rank * sum(sizes[path]) < sizes[path][0] * sizes[path][1]}


def _moment_roots(model: nn.Module, groups: list[dict[str, Seen]], paths: Collection[str], ctx: Context) -> Roots:
    """Of a group of layers at a time: L Lᵀ = X Xᵀ."""
    for group in groups:
        wanted = {path: seen for path, seen in group.items() if path in paths}
        for path, one in moments(model, wanted, ctx.calibration, ctx.device).items() if wanted else ():
            damping = 1e-4 * one.H_II.diagonal().mean().clamp_min(1e-12)
            yield path, torch.linalg.cholesky(one.H_II + damping * torch.eye(len(one.H_II)))


def smaller(layer: nn.Module) -> bool:
    I, O = features(layer)
    return I + O < I * O


def pair(layer: nn.Module, root_II: Tensor, rank: int) -> LowRankLinear:
    """U V of that rank with the least ‖(W - U V) L‖."""
    W_OI, (I, O) = weight_OI(layer), features(layer)
    bias: Tensor | None = layer.bias  # type: ignore[assignment]
    U, S, Vh = torch.linalg.svd(W_OI @ root_II, full_matrices=False)
    root_R = S[:rank].sqrt()
    made = LowRankLinear(I, O, rank, bias=bias is not None)
    made.up.weight.copy_(U[:, :rank] * root_R)
    # V L⁻¹ by solving, for the inverse of L would be less exact
    made.down.weight.copy_(torch.linalg.solve(root_II.T, (root_R[:, None] * Vh[:rank]).T).T)
    if bias is not None:
        made.up.bias.copy_(bias)
    return made
