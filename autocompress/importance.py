"""How much a unit (a neuron, a head) matters. A unit is a group of adjacent inputs of a linear layer: its `site`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress import cache, keys
from autocompress.context import Context, forward
from autocompress.examples import Batch
from autocompress.surgery import AnyLinear

Importance = Literal["taylor", "l2"]


def score(
    importance: Importance, model: nn.Module, sites: list[AnyLinear], ctx: Context, group: int = 1
) -> list[Tensor]:
    """For every site, one score for each `group` adjacent inputs: (in_features / group,). Higher matters more.

    Computed once for the same model, texts and sites, in all studies.
    """
    if importance == "l2":
        return [l2(site, group) for site in sites]
    if not ctx.prefix:
        return taylor(model, sites, ctx.calibration, group)

    def build(folder: Path) -> None:
        scores = taylor(model, sites, ctx.calibration, group)
        save_file({str(i): site_scores for i, site_scores in enumerate(scores)}, folder / "scores.safetensors")

    paths = {module: path for path, module in model.named_modules()}
    key = keys.importance(ctx.prefix, [(paths[site], site.in_features) for site in sites], group)
    found = load_file(cache.folder("importance", key, build) / "scores.safetensors")
    return [found[str(i)] for i in range(len(sites))]


def l2(site: AnyLinear, group: int = 1) -> Tensor:
    """The norm of the columns that read the unit."""
    return site.weight.detach().square().sum(0).view(-1, group).sum(-1).sqrt()


def taylor(model: nn.Module, sites: list[AnyLinear], batches: list[Batch], group: int = 1) -> list[Tensor]:
    """Sum over texts of |a · dL/da|, a the unit's activations: to first order, what the loss changes by without it.

    Michel et al. 2019, arXiv:1905.10650, section 4.1. Needs labelled batches; leaves no gradients behind.
    """
    model.eval()
    totals = [torch.zeros(site.in_features // group) for site in sites]
    for batch in batches:
        with torch.enable_grad():
            logits_BC, activations = _forward_recording(model, batch, sites)
            loss = F.cross_entropy(logits_BC, batch["labels"], reduction="sum")
            gradients = torch.autograd.grad(loss, activations)
        for total, a_BTI, g_BTI in zip(totals, activations, gradients, strict=True):
            # padded tokens have zero gradient: nothing that the loss sees attends to them
            effect_BI = (a_BTI * g_BTI).detach().sum(1)
            total += effect_BI.view(len(effect_BI), -1, group).sum(-1).abs().sum(0)
    return totals


def rounds_from(count: int, target: int, rounds: int) -> list[int]:
    """How many units are left after each of `rounds` rounds of equal size, from `count` down to `target`."""
    return [count - (count - target) * done // rounds for done in range(1, rounds + 1)]


def _forward_recording(model: nn.Module, batch: Batch, sites: list[AnyLinear]) -> tuple[Tensor, list[Tensor]]:
    """The logits (B, C), and what went into each site (B, T, I)."""
    recorded: dict[nn.Module, Tensor] = {}

    def record(site: nn.Module, args: tuple[Tensor]) -> None:
        recorded[site] = args[0]

    handles = [site.register_forward_pre_hook(record) for site in sites]
    try:
        logits_BC = forward(model, batch, frozenset({"logits"})).logits
    finally:
        for handle in handles:
            handle.remove()
    return logits_BC, [recorded[site] for site in sites]
