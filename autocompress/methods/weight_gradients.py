"""How much the loss of calibration texts depends on every weight: the diagonal of the empirical Fisher matrix."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from autocompress.methods.context import Context
from autocompress.models.forward import fetched, forward, moved, placed
from autocompress.models.surgery import holds_transposed

_TEXTS = 64  # a backward pass each


def squared_gradients(model: nn.Module, layers: Mapping[str, nn.Module], ctx: Context) -> dict[str, Tensor]:
    """Of every layer the mean of g² over texts, (O, I), by path. The model is in eval mode, and keeps no gradient."""
    model.eval()
    weights = [module.weight for module in layers.values()]
    found = {path: torch.zeros(()) for path in layers}
    seen = 0
    with placed(model, ctx.device):
        for batch in ctx.calibration:
            for i in range(min(len(batch["input_ids"]), _TEXTS - seen)):
                text = {name: tensor[i : i + 1] for name, tensor in batch.items()}
                with torch.enable_grad():
                    logits = forward(model, text, frozenset({"logits"})).logits
                    loss = ctx.kind.loss(logits, moved(text, ctx.device)).sum()
                    gradients = torch.autograd.grad(loss, weights)  # type: ignore[arg-type]
                for (path, layer), g in zip(layers.items(), gradients, strict=True):
                    found[path] = found[path] + fetched((g.T if holds_transposed(layer) else g).square())
                seen += 1
    return {path: square / max(1, seen) for path, square in found.items()}
