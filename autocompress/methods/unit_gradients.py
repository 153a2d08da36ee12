"""What the loss of each calibration text would say of a mask on every head and neuron."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autocompress.methods.context import Context
from autocompress.methods.importance import by_text, recorded
from autocompress.methods.units import Site
from autocompress.models.forward import fetched, moved, placed
from autocompress.models.surgery import features, product


def unit_gradients(model: nn.Module, found: list[Site], ctx: Context) -> dict[Site, Tensor]:
    """∂L/∂m of every unit of each site, m = 1, by calibration text: (N, U)."""
    model.eval()
    outs = [product(model, site.out) for site in found]
    rows: dict[Site, list[Tensor]] = {site: [] for site in found}
    with placed(model, ctx.device):
        for batch in ctx.calibration:
            with torch.enable_grad():
                logits, activations = recorded(model, batch, outs)
                loss = ctx.kind.loss(logits, moved(batch, ctx.device)).sum()
                gradients = iter(torch.autograd.grad(loss, [run for of_site in activations for run in of_site]))
            for site, out, of_site in zip(found, outs, activations, strict=True):
                group = features(out)[0] // site.units
                effect = by_text(of_site, gradients, len(batch["input_ids"]))
                rows[site].append(fetched(effect.reshape(len(effect), -1, group).sum(-1)))
    return {site: torch.cat(parts) for site, parts in rows.items()}
