"""How much a unit (a neuron, a head) matters. A unit is a group of adjacent inputs of a linear layer: its `site`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autocompress.machine import cache
from autocompress.methods.context import Context
from autocompress.models.forward import CPU, fetched, forward, moved, placed
from autocompress.models.surgery import features, weight_OI
from autocompress.space import keys
from autocompress.tasks.dataset import Batch
from autocompress.tasks.kind import TaskKind

Importance = Literal["taylor", "l2"]


def score(
    importance: Importance, model: nn.Module, sites: list[nn.Module], ctx: Context, groups: list[int] | None = None
) -> list[Tensor]:
    """For every site, one score for each group of adjacent inputs (of one, if not said): (I / group,).

    Higher matters more. Computed once for the same model, texts and sites, in all studies.
    """
    groups = groups or [1] * len(sites)
    if importance == "l2":
        return [l2(site, group) for site, group in zip(sites, groups, strict=True)]
    if not ctx.prefix:
        return taylor(model, sites, ctx.calibration, groups, ctx.kind, ctx.device)

    def build(folder: Path) -> None:
        scores = taylor(model, sites, ctx.calibration, groups, ctx.kind, ctx.device)
        save_file({str(i): site_scores for i, site_scores in enumerate(scores)}, folder / "scores.safetensors")

    paths = {module: path for path, module in model.named_modules()}
    places = [(paths[site], features(site)[0]) for site in sites]
    key = keys.importance(ctx.prefix, places, groups)
    found = load_file(cache.folder("importance", key, build) / "scores.safetensors")
    return [found[str(i)] for i in range(len(sites))]


def l2(site: nn.Module, group: int = 1) -> Tensor:
    """The norm of the columns that read the unit."""
    return weight_OI(site).square().sum(0).view(-1, group).sum(-1).sqrt()


def taylor(
    model: nn.Module,
    sites: list[nn.Module],
    batches: list[Batch],
    groups: list[int],
    kind: TaskKind,
    device: torch.device = CPU,
) -> list[Tensor]:
    """Sum over texts of |a · dL/da|, a the unit's activations: to first order, what the loss changes by without it.

    Michel et al. 2019, arXiv:1905.10650, section 4.1. Needs labelled batches; leaves no gradients behind. Of a site
    that runs several times, every run counts.
    """
    model.eval()
    totals = [torch.zeros(features(site)[0] // group) for site, group in zip(sites, groups, strict=True)]
    with placed(model, device):
        for batch in batches:
            with torch.enable_grad():
                logits, activations = recorded(model, batch, sites)
                loss = kind.loss(logits, moved(batch, device)).sum()
                gradients = iter(torch.autograd.grad(loss, [run for of_site in activations for run in of_site]))
            for total, of_site, group in zip(totals, activations, groups, strict=True):
                # padded tokens have zero gradient: nothing that the loss sees attends to them
                effect_BI = by_text(of_site, gradients, len(batch["input_ids"]))
                total += fetched(effect_BI.view(len(effect_BI), -1, group).sum(-1).abs().sum(0))
    return totals


def by_text(runs: list[Tensor], gradients: Iterator[Tensor], texts: int) -> Tensor:
    """Σ a · dL/da over the tokens of each text and the runs of a site: (B, I). Takes a gradient for every run.

    What is no text's, as DeBERTa's projected positions, does not count.
    """
    effects = [(a * next(gradients)).detach() for a in runs]
    of_texts = [effect for effect in effects if len(effect) == texts]
    summed = [effect if effect.ndim == 2 else effect.flatten(1, -2).sum(1) for effect in of_texts]
    return torch.stack(summed).sum(0) if summed else effects[0].new_zeros(texts, effects[0].shape[-1])


def rounds_from(count: int, target: int, rounds: int) -> list[int]:
    """How many units are left after each of `rounds` rounds of equal size, from `count` down to `target`."""
    return [count - (count - target) * done // rounds for done in range(1, rounds + 1)]


def recorded(model: nn.Module, batch: Batch, sites: list[nn.Module]) -> tuple[Tensor, list[list[Tensor]]]:
    """The logits, and what went into each site every time it ran (B, T, I)."""
    recorded: dict[nn.Module, list[Tensor]] = {site: [] for site in sites}

    def record(site: nn.Module, args: tuple[Tensor]) -> None:
        recorded[site].append(args[0])

    handles = [site.register_forward_pre_hook(record) for site in sites]
    try:
        logits = forward(model, batch, frozenset({"logits"})).logits
    finally:
        for handle in handles:
            handle.remove()
    return logits, [recorded[site] for site in sites]
