"""One forward pass: what a model is given, what it gives, and where. By this alone things change their device."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.models.families.anatomy import anatomy
from autocompress.tasks.dataset import Batch, inputs

CPU = torch.device("cpu")
_PROJECTED = ("q", "k", "v")


@dataclass
class Outputs:
    """What a forward pass gave. None: it was not asked for."""

    logits: Tensor  # (B, C)
    hidden_states: tuple[Tensor, ...] | None = None  # embeddings, then every layer: (B, T, D) each
    attentions: tuple[Tensor, ...] | None = None  # every layer's probabilities, after dropout: (B, H, T, T) each
    q: tuple[Tensor, ...] | None = None  # of every attention, in the order in which they run: (B, T, H · K) each,
    k: tuple[Tensor, ...] | None = None  # as projected: head by head, and before positions turn them;
    v: tuple[Tensor, ...] | None = None  # of k and v as many heads as the model has

    def first(self, tokens: int) -> Outputs:
        """Of every text's first tokens, for a student who reads no more; rows of attention sum to 1 again."""
        among = [a[..., :tokens, :tokens] for a in self.attentions or ()]
        return Outputs(
            self.logits,
            attentions=self.attentions and tuple(a / a.sum(-1, keepdim=True).clamp_min(1e-12) for a in among),
            **{
                name: states and tuple(state[:, :tokens] for state in states)
                for name, states in (("hidden_states", self.hidden_states), ("q", self.q), ("k", self.k), ("v", self.v))
            },
        )


def forward(model: nn.Module, batch: Batch, needs: frozenset[str]) -> Outputs:
    """Run `model` on `batch`, where the model is, and ask for no more than `needs`, which names fields of `Outputs`.

    Raises `NotApplicable` where the model does not tell of its attentions.
    """
    if "attentions" in needs:
        with _eager(model):
            return _forward(model, batch, needs, output_attentions=True)
    return _forward(model, batch, needs)


def _forward(model: nn.Module, batch: Batch, needs: frozenset[str], **more: bool) -> Outputs:
    with _projecting(model, needs, batch) as projected:
        given = model(**moved(inputs(batch), device_of(model)), output_hidden_states="hidden_states" in needs, **more)
    attentions = getattr(given, "attentions", None) if "attentions" in needs else None
    if "attentions" in needs and not attentions:
        raise NotApplicable(f"a {type(model).__name__} does not tell of its attentions")
    return Outputs(
        given.logits, getattr(given, "hidden_states", None), attentions,
        **{role: tuple(runs) for role, runs in projected.items()},
    )  # fmt: skip


def device_of(model: nn.Module) -> torch.device:
    """Where its parameters are."""
    first = next(model.parameters(), None)
    return CPU if first is None else first.device


@contextmanager
def placed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """`model` on `device` within, afterwards where it was. Its parameters stay the same objects."""
    before = device_of(model)
    if before == device:
        yield
        return
    try:
        model.to(device)
        yield
    finally:
        model.to(before)


def copied(model: nn.Module, device: torch.device) -> nn.Module:
    """A copy of `model` on `device`."""
    return copy.deepcopy(model).to(device)


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on `device`."""
    return {name: tensor.to(device) for name, tensor in batch.items()}


def fetched(tensor: Tensor) -> Tensor:
    """The tensor on the CPU, where all is kept that is found out of a model."""
    return tensor.to(CPU)


@contextmanager
def _eager(model: nn.Module) -> Iterator[None]:
    """Attention as transformers writes it out: its fused kernels keep no probabilities."""
    own: list[Any] = [m.config for m in model.modules() if hasattr(m, "config")]
    configs = list({id(config): config for config in own if hasattr(config, "_attn_implementation")}.values())
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation = "eager"
        yield
    finally:
        for config, known in zip(configs, before, strict=True):
            config._attn_implementation = known


@contextmanager
def _projecting(model: nn.Module, needs: frozenset[str], batch: Batch) -> Iterator[dict[str, list[Tensor]]]:
    """What the projections of `needs` give, by role, every time that one runs on the tokens of the batch."""
    found: dict[str, list[Tensor]] = {role: [] for role in _PROJECTED if role in needs}
    places = [
        (role, getattr(attention, role))
        for attention in dict.fromkeys(anatomy(model).attentions if found else ())
        for role in found
    ]
    handles = []
    for role, projection in places:

        def keep(_: nn.Module, __: Any, out: Tensor, role: str = role, projection: Any = projection) -> None:
            if out.shape[:-1] == batch["input_ids"].shape:  # DeBERTa's project positions too
                found[role].append(out.chunk(projection.parts, -1)[projection.part])

        handles.append(model.get_submodule(projection.path).register_forward_hook(keep))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
