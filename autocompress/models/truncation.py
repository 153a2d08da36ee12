"""Read no more of a text than so many tokens: cut off in the model, so that no one who asks it has to know."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from autocompress.tasks.dataset import Batch, inputs

NAME = "truncation"  # of the submodule


class Truncation(nn.Module):
    """How many tokens are read. It holds no parameter and is never called itself."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens

    def extra_repr(self) -> str:
        return f"tokens={self.tokens}"


def truncate(model: nn.Module) -> None:
    """Let the model do what its `truncation` says, from now on and in its copies."""
    model.register_forward_pre_hook(_cut, with_kwargs=True)


def read(model: nn.Module, batch: Batch) -> Batch:
    """The batch as `model` reads it, if its texts are cut."""
    truncation: Any = getattr(model, NAME, None)
    if truncation is None:
        return batch
    return batch | {name: _first(value, truncation.tokens) for name, value in inputs(batch).items()}


def _cut(model: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    truncation: Any = getattr(model, NAME)
    return args, {name: _first(value, truncation.tokens) for name, value in named.items()}


def _first(value: Any, tokens: int) -> Any:
    """Of what has a row a text and a column a token."""
    return value[:, :tokens] if isinstance(value, Tensor) and value.ndim == 2 else value
