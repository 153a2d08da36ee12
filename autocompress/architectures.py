"""Where each model family keeps its layers, attentions and feed-forwards: one small table a family."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from autocompress.errors import NotApplicable


@dataclass(frozen=True)
class Family:
    """Module paths (layers and embeddings inside the encoder, the rest inside a layer) and attribute names."""

    layers: str
    word_embeddings: str
    attention: str  # the module that counts its heads
    query: str
    key: str
    value: str
    out: str
    up: str
    down: str
    depth: str  # the config's number of layers
    ffn_width: str  # the config's feed-forward width
    head_count: str  # the attention's number of heads


BERT = Family(
    layers="encoder.layer", word_embeddings="embeddings.word_embeddings",
    attention="attention.self",
    query="attention.self.query", key="attention.self.key", value="attention.self.value", out="attention.output.dense",
    up="intermediate.dense", down="output.dense",
    depth="num_hidden_layers", ffn_width="intermediate_size", head_count="num_attention_heads",
)  # fmt: skip

DISTILBERT = Family(
    layers="transformer.layer", word_embeddings="embeddings.word_embeddings",
    attention="attention",
    query="attention.q_lin", key="attention.k_lin", value="attention.v_lin", out="attention.out_lin",
    up="ffn.lin1", down="ffn.lin2",
    depth="n_layers", ffn_width="hidden_dim", head_count="n_heads",
)  # fmt: skip

FAMILIES = {"bert": BERT, "roberta": BERT, "xlm-roberta": BERT, "distilbert": DISTILBERT}


@dataclass(frozen=True)
class Layer:
    """Paths of one layer's modules, from the model's root."""

    path: str
    query: str
    key: str
    value: str
    out: str
    up: str
    down: str

    @property
    def attention(self) -> tuple[str, ...]:
        """The four projections of its attention."""
        return (self.query, self.key, self.value, self.out)

    @property
    def ffn(self) -> tuple[str, ...]:
        """The two projections of its feed-forward."""
        return (self.up, self.down)


@dataclass(frozen=True)
class Layout:
    """One model seen through its family's table."""

    family: Family
    stack: str  # path of the ModuleList of layers
    layers: tuple[Layer, ...]
    word_embeddings: str  # path
    width: int  # D
    head_size: int  # K

    def in_stack(self, path: str) -> bool:
        """Whether a module belongs to a layer. Linears that do not are the head: pooler, pre-classifier, classifier."""
        return path.startswith(self.stack + ".")


def layout(model: nn.Module) -> Layout:
    """Where `model` (an encoder, bare or under a classifier) keeps its parts. `NotApplicable` for an unknown family."""
    config: Any = getattr(model, "config", None)
    kind = getattr(config, "model_type", type(model).__name__)
    family = FAMILIES.get(kind)
    if family is None:
        raise NotApplicable(f"the layout of a {kind!r} model is not known. Known: {', '.join(FAMILIES)}")
    prefix = str(getattr(model, "base_model_prefix", ""))
    root = f"{prefix}." if hasattr(model, prefix) else ""
    stack = root + family.layers
    return Layout(
        family=family,
        stack=stack,
        layers=tuple(_layers(stack, family, len(model.get_submodule(stack)))),  # type: ignore[arg-type]
        word_embeddings=root + family.word_embeddings,
        width=config.hidden_size,
        head_size=config.hidden_size // config.num_attention_heads,
    )


def recount_heads(model: nn.Module) -> None:
    """Make every attention's own counters agree with the rows that its query has."""
    found = layout(model)
    for layer in found.layers:
        attention = model.get_submodule(f"{layer.path}.{found.family.attention}")
        rows = model.get_submodule(layer.query).out_features
        setattr(attention, found.family.head_count, rows // found.head_size)  # type: ignore[operator]
        if hasattr(attention, "all_head_size"):
            attention.all_head_size = rows


def _layers(stack: str, family: Family, count: int) -> Iterator[Layer]:
    for i in range(count):
        path = f"{stack}.{i}"
        roles = ("query", "key", "value", "out", "up", "down")
        yield Layer(path, **{role: f"{path}.{getattr(family, role)}" for role in roles})
