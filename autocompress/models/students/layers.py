"""Layers of the students, whose matrices are linear layers: every method finds them, and what it puts there runs.

A recurrence reads its matrices whole, by torch's fused operators, and no input meets one of them alone. Who watches
the inputs of its linear layers is shown them after the fact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from autocompress.models.students import older
from autocompress.models.surgery import features, keep_inputs, keep_outputs

Cell = Literal["lstm", "gru"]
_GATES: dict[Cell, int] = {"lstm": 4, "gru": 3}


class RecurrentLayer(nn.Module):
    """Reads a text both ways: (B, T, D) -> (B, T, D), half of it from each. Gates lie as in torch's own modules."""

    def __init__(self, cell: Cell, width: int) -> None:
        super().__init__()
        self.cell, half = cell, width // 2
        for way in ("forward", "backward"):
            self.add_module(f"{way}_input", nn.Linear(width, _GATES[cell] * half))
            self.add_module(f"{way}_state", nn.Linear(half, _GATES[cell] * half))
        self.register_load_state_dict_pre_hook(older.recurrent)  # type: ignore[no-untyped-call]

    def forward(self, x_BTD: Tensor) -> Tensor:
        out_BTD: Tensor = self._run(x_BTD)
        if any(module._forward_pre_hooks for one in self.children() for module in one.modules()):
            self._show(x_BTD, out_BTD.detach())
        return out_BTD

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _run(self, x_BTD: Tensor) -> Tensor:
        each: list[Any] = list(self.children())
        pairs = each[:2], each[2:]  # of each way: input and state
        numbers = [getattr(product, name) for pair in pairs for name in ("weight", "bias") for product in pair]
        start = x_BTD.new_zeros(2, x_BTD.shape[0], pairs[0][1].in_features)
        rest = numbers, True, 1, 0.0, self.training, True, True  # biases, layers, dropout, ..., both ways, (B, T)
        if self.cell == "lstm":
            return torch.lstm(x_BTD, [start, start], *rest)[0]
        return torch.gru(x_BTD, start, *rest)[0]

    @torch.no_grad()
    def _show(self, x_BTD: Tensor, out_BTD: Tensor) -> None:
        """Let every product be called with what it has met."""
        ahead_BTH, back_BTH = out_BTD.chunk(2, -1)
        first = torch.zeros_like(ahead_BTH[:, :1])
        before, after = torch.cat([first, ahead_BTH[:, :-1]], 1), torch.cat([back_BTH[:, 1:], first], 1)
        for product, given in zip(self.children(), (x_BTD, before, x_BTD, after), strict=True):
            product(given)

    def readers(self) -> list[tuple[nn.Module, int]]:
        """Products that read the input, and how many times a token's numbers stand in what each reads."""
        each = list(self.children())
        return [(each[0], 1), (each[2], 1)]

    def gives(self, width: int) -> list[int]:
        """Of a layer of that width: how many of its outputs come from each of its parts."""
        return [width // 2] * 2

    def keep(self, read: Tensor, given: list[Tensor]) -> None:
        """Keep those numbers of the input, and of either way those units alone."""
        each = list(self.children())
        for (into, state), units in zip((each[:2], each[2:]), given, strict=True):
            size = features(state)[0]
            rows = torch.cat([units + i * size for i in range(_GATES[self.cell])])
            for product, columns in ((into, read), (state, units)):
                keep_inputs(product, columns)
                keep_outputs(product, rows)

    def extra_repr(self) -> str:
        return self.cell


def read_whole(model: nn.Module) -> set[str]:
    """The paths of what lies in recurrent layers: weights that are read whole, whose inputs cannot be rounded."""
    return set(_inside(model))


def _inside(model: nn.Module) -> Iterator[str]:
    for path, module in model.named_modules():
        if isinstance(module, RecurrentLayer):
            yield from (f"{path}.{name}" for name, _ in module.named_modules() if name)


class FilterLayer(nn.Module):
    """Filters over adjacent tokens, as many of each width as the input is wide: the largest answer of each."""

    def __init__(self, width: int, tokens: tuple[int, ...]) -> None:
        super().__init__()
        self.tokens, self.width = tokens, width
        self.filters = nn.ModuleList(nn.Linear(width * each, width) for each in tokens)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, W): every text has a window of zeros at its ends, so that it does not depend on how long others are."""
        most = max(self.tokens)
        padded_BTD = nn.functional.pad(x_BTD, (0, 0, most - 1, most))
        windows = x_BTD.shape[1] + most
        seen_BTW = torch.cat([padded_BTD[:, i : i + windows] for i in range(most)], -1)
        found = [
            each(seen_BTW[..., : self.width * tokens]).relu().amax(1)
            for each, tokens in zip(self.filters, self.tokens, strict=True)
        ]
        return torch.cat(found, -1)

    def readers(self) -> list[tuple[nn.Module, int]]:
        """As of a recurrent layer."""
        return list(zip(self.filters, self.tokens, strict=True))

    def gives(self, width: int) -> list[int]:
        """As of a recurrent layer."""
        return [width] * len(self.tokens)

    def keep(self, read: Tensor, given: list[Tensor]) -> None:
        """Keep those numbers of a token, and those filters of each number of tokens alone."""
        for each, tokens, filters in zip(self.filters, self.tokens, given, strict=True):
            keep_inputs(each, torch.cat([read + i * self.width for i in range(tokens)]))
            keep_outputs(each, filters)
        self.width = len(read)

    def extra_repr(self) -> str:
        return f"tokens={self.tokens}"
