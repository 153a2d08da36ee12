"""Files from before the students' layers were made of linear ones, when those were torch's own LSTM, GRU and Conv1d."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

_RECURRENT = {  # torch's name of a matrix -> the linear layer's name here
    "ih_l0": "forward_input", "hh_l0": "forward_state", "ih_l0_reverse": "backward_input",
    "hh_l0_reverse": "backward_state",
}  # fmt: skip


def recurrent(layer: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """A hook of `load_state_dict`: a recurrent layer's matrices by their names of today."""
    for old, new in _RECURRENT.items():
        for kind in ("weight", "bias"):
            if f"{prefix}{kind}_{old}" in state:
                state[f"{prefix}{new}.{kind}"] = state.pop(f"{prefix}{kind}_{old}")


def filters(model: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """The same for a convolution's filters, (O, D, tokens) then and (O, tokens · D) today."""
    for name in [name for name in state if name.startswith(f"{prefix}filters.")]:
        numbers = state.pop(name)
        flat = numbers.transpose(1, 2).flatten(1) if numbers.ndim > 2 else numbers
        state[f"{prefix}layers.0.{name.removeprefix(prefix)}"] = flat


def fill_layers(model: nn.Module, folder: Path) -> None:
    """Give a model its layers, which transformers, that knows no such hooks, has drawn anew from such a file."""
    stored = load_file(folder / "model.safetensors")
    layers = {name: t for name, t in stored.items() if name.startswith(("layers.", "filters."))}
    model.load_state_dict(layers, strict=False)
