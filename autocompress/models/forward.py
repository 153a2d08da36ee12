"""One forward pass: what a model is given, and what it gives."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from autocompress.tasks.dataset import Batch, inputs


class Outputs(Protocol):
    """What a forward pass gave. Hugging Face's model outputs fit."""

    logits: Tensor  # (B, C)
    hidden_states: tuple[Tensor, ...] | None  # embeddings, then every layer: (B, T, D) each


def forward(model: nn.Module, batch: Batch, needs: frozenset[str]) -> Outputs:
    """Run `model` on `batch` and ask for no more than `needs`."""
    return model(**inputs(batch), output_hidden_states="hidden_states" in needs)  # type: ignore[no-any-return]
