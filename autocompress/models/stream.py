"""The numbers that a layer hands on to the next: who reads them, who writes them, and how all are made fewer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.models.factored.tables import NarrowEmbedding
from autocompress.models.families.anatomy import Anatomy, anatomy, has
from autocompress.models.storage import tie_own
from autocompress.models.surgery import features, keep_inputs, keep_outputs, product

# What reads the last layer's answer: of these the first that the model has. And what writes the first layer's input.
_HEADS = ("pooler.dense", "pooler", "head.dense", "classifier.dense", "pre_classifier", "classification_head.dense",
          "classifier", "score", "lm_head")  # fmt: skip
_ENTRANCES = ("embeddings_project", "embeddings.embed_proj", "encoder.embedding_hidden_mapping_in")


@dataclass(frozen=True)
class Stream:
    """Paths of products, tables and norms whose inputs, or outputs, are the stream."""

    width: int
    readers: tuple[str, ...]
    writers: tuple[str, ...]
    tables: tuple[str, ...]
    norms: tuple[str, ...]


def width_of(model: nn.Module) -> int:
    """How many numbers a layer hands on for a token."""
    found = anatomy(model)
    blocks = [block for block in found.blocks if block.attentions]
    if not blocks:
        return int(model.config.hidden_size)  # type: ignore[union-attr,arg-type]
    return features(product(model, blocks[0].attentions[0].q.path))[0]


def stream(model: Any) -> Stream:
    """Who reads and writes it. Raises `NotApplicable` where there is none."""
    found = anatomy(model)
    if not found.attentions:
        raise NotApplicable(f"a {found.kind!r} model has no width that all layers share")
    width, root = width_of(model), f"{model.base_model_prefix}."
    base = root if hasattr(model, model.base_model_prefix) else ""
    heads = [path for name in _HEADS for path in (f"{base}{name}", name) if _product_at(model, path)]
    entrances = [f"{base}{name}" for name in _ENTRANCES if _product_at(model, f"{base}{name}")]
    factorized = [f"{path}.up" for path, m in model.named_modules() if isinstance(m, NarrowEmbedding)]
    inside = _inside(found)
    tables, norms = [], []
    for path, module in model.named_modules():
        if not path.startswith(base):
            continue
        if isinstance(module, nn.Embedding) and module.embedding_dim == width and path not in inside:
            if not (entrances and ".embeddings." in f".{path}"):
                tables.append(path)
        elif _is_norm(module, width) and not (entrances and ".embeddings." in f".{path}" and _before(model, base)):
            norms.append(path)
    readers = [path for path in inside if inside[path] == "reads"] + heads[:1]
    writers = [path for path in inside if inside[path] == "writes"] + entrances + factorized
    return Stream(width, tuple(readers), tuple(writers), tuple(tables), tuple(norms))


def tables_of(model: Any) -> Stream:
    """The embeddings alone, of a student whose layers hand on numbers of their own."""
    width = int(model.config.hidden_size)
    factorized = tuple(f"{path}.up" for path, m in model.named_modules() if isinstance(m, NarrowEmbedding))
    tables = tuple(path for path, m in model.named_modules() if isinstance(m, nn.Embedding) and not factorized)
    return Stream(width, (), factorized, tables, ())


def narrow(model: Any, found: Stream, kept: Tensor) -> None:
    """Keep those numbers of the stream alone, everywhere."""
    for path in found.readers:
        keep_inputs(product(model, path), kept)
    for path in found.writers:
        keep_outputs(product(model, path), kept)
    for path in found.tables:
        table = model.get_submodule(path)
        table.weight = nn.Parameter(table.weight.detach()[:, kept].clone())
        table.embedding_dim = len(kept)
    for path in found.norms:
        norm = model.get_submodule(path)
        for name, parameter in list(norm.named_parameters(recurse=False)):
            setattr(norm, name, nn.Parameter(parameter.detach()[kept].clone()))
        if isinstance(norm, nn.LayerNorm):
            norm.normalized_shape = (len(kept),)
    for module in model.modules():
        if hasattr(module, "num_embeddings") and hasattr(module, "table"):
            inner = module.up.out_features if isinstance(module, NarrowEmbedding) else module.table.embedding_dim
            module.embedding_dim = inner
    tie_own(model)


def _inside(found: Anatomy) -> dict[str, str]:
    """What each product of the layers does with the stream. A second stack's keys and values read the first one's."""
    known: dict[str, str] = {}
    for block in found.blocks:
        for attention in block.attentions:
            more = [projection.path for projection, _ in attention.more]
            known |= dict.fromkeys((attention.q.path, attention.k.path, attention.v.path, *more), "reads")
            known[attention.o] = "writes"
        for ffn in block.ffns:
            known |= dict.fromkeys((into.path for into in ffn.ins), "reads")
            known[ffn.down] = "writes"
    return known


def _product_at(model: nn.Module, path: str) -> bool:
    try:
        return has(model, path) and bool(product(model, path))
    except TypeError:
        return False


def _is_norm(module: nn.Module, width: int) -> bool:
    weight = getattr(module, "weight", None)
    named = "norm" in type(module).__name__.lower()
    return named and isinstance(weight, torch.Tensor) and tuple(weight.shape) == (width,)


def _before(model: Any, base: str) -> bool:
    """Whether the norm of the embeddings stands before what makes them as wide as the stream."""
    return not _product_at(model, f"{base}embeddings.embed_proj")
