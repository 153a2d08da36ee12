"""To which kind of layer a place in a model belongs: as its family's table says, else by what modules are and do.

For what no table names one convention is relied on: what lies in a module called `attention` or `attn` (`self_attn`,
`SelfAttention`, `rel_attn`, ...) is attention, and the other products of a layer are its feed-forward.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Literal, get_args

from torch import nn

from autocompress.models import surgery
from autocompress.models.factored.linears import Factored
from autocompress.models.families.places import projections, stacks

Kind = Literal[
    "embeddings", "attention projections", "attention products", "feed-forward", "activations", "norms", "recurrent",
    "head", "other",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
IN_LAYERS: frozenset[Kind] = frozenset(
    ("attention projections", "attention products", "feed-forward", "activations", "norms", "recurrent")
)
_ATTENTION = re.compile("attn|attention", re.IGNORECASE)


class Kinds:
    """One model, asked by path.

    - embeddings: tables, and the sums of what is looked up in them
    - attention projections: its linears (query, key, value, out)
    - attention products: scores, softmax and mixing, and the moves and masks around them
    - feed-forward: the other linears of the layers
    - activations: its functions, and the gates they are multiplied with
    - norms: the norms, and the sums with what passes a layer by
    - recurrent: LSTM, GRU
    - head: what reads the last layer: pooler, classifier
    - other: what is left, such as masks
    """

    def __init__(self, model: nn.Module, multiplying: Container[str]) -> None:
        """`multiplying`: the modules that multiply matrices themselves, not in a submodule."""
        self._modules = dict(model.named_modules(remove_duplicate=False))
        self._multiplying = multiplying
        self._products = surgery.products(model)
        self._stacks = tuple(f"{path}." for path in stacks(model))
        self._known = projections(model)

    def of(self, path: str, operator: str = "") -> Kind:
        """The kind of an operator in the module at `path`; beyond the last module that exists, of that module."""
        while path not in self._modules:
            path = path.rpartition(".")[0]
        module, in_layers = self._modules[path], path.startswith(self._stacks)
        if isinstance(module, nn.RNNBase):
            return "recurrent"
        if isinstance(module, nn.Embedding):
            return "embeddings"
        if path in self._products or isinstance(module, Factored):
            return self._product(path) if in_layers else "head"
        if "norm" in type(module).__name__.lower():
            return "norms"
        return self._inside(path, operator) if in_layers else self._outside(module, operator)

    def _product(self, path: str) -> Kind:
        known = self._known.get(path, "attention" if self._in_attention(path) else "feed-forward")
        return "attention projections" if known == "attention" else "feed-forward"

    def _inside(self, path: str, operator: str) -> Kind:
        """Of what is neither a product nor a norm, in a layer."""
        if path in self._multiplying:
            return "attention products" if self._in_attention(path) else "feed-forward"
        gates = operator == "Mul" and not self._in_attention(path)
        return "activations" if gates or _is_function(self._modules[path]) else "norms"

    def _outside(self, module: nn.Module, operator: str) -> Kind:
        """The same, outside the layers."""
        children = list(module.children())
        if any(isinstance(child, nn.Linear) for child in children) or _is_function(module):
            return "head"
        embeds = any(isinstance(child, nn.Embedding) for child in children)
        holds_layers = any(isinstance(inner, nn.ModuleList) for inner in module.modules())
        return "embeddings" if embeds and (operator == "Add" or not holds_layers) else "other"

    def _in_attention(self, path: str) -> bool:
        start = next(len(stack) for stack in self._stacks if path.startswith(stack))
        return bool(_ATTENTION.search(path[start:]))


def _is_function(module: nn.Module) -> bool:
    """Whether it only computes: a GELU, a Tanh."""
    return not any(True for _ in (*module.children(), *module.parameters(), *module.buffers()))
