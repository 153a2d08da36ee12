"""What methods do to a module tree: find, replace, slice. Always real slicing, never masks."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.models.factored.linears import Factored, LowRankLinear
from autocompress.models.factored.tables import TABLES, WRAPPED, MappedEmbedding

AnyLinear = nn.Linear | Factored


def linears(model: nn.Module) -> dict[str, nn.Linear]:
    """Every linear layer by path, the inner ones of low-rank pairs too."""
    return {path: m for path, m in model.named_modules() if isinstance(m, nn.Linear)}


def products(model: nn.Module) -> dict[str, nn.Module]:
    """Every layer that multiplies its input by a weight, by path: the linears, and GPT-2's transposed ones."""
    return {path: m for path, m in model.named_modules() if isinstance(m, nn.Linear) or holds_transposed(m)}


def holds_transposed(module: nn.Module) -> bool:
    """Whether its weight is (I, O), as in the Conv1D that transformers keeps for GPT-2."""
    return type(module).__name__ == "Conv1D" and type(module).__module__ == "transformers.pytorch_utils"


def weight_OI(module: nn.Module) -> Tensor:
    """The weight of a product, detached: a view, so what is written to it changes the module."""
    weight: Tensor = module.weight.detach()  # type: ignore[operator]
    return weight.T if holds_transposed(module) else weight


def token_tables(model: nn.Module) -> dict[str, nn.Embedding]:
    """The embedding tables of the vocabulary, by path: that which the model names, and all that share its weight.

    Of a model that names none those with the most rows.
    """
    tables = {path: m for path, m in model.named_modules() if isinstance(m, nn.Embedding)}
    named = _named_table(model)
    if named is not None:
        return {path: m for path, m in tables.items() if m.weight is named.weight}
    most = max((m.num_embeddings for m in tables.values()), default=0)
    return {path: m for path, m in tables.items() if m.num_embeddings == most}


def token_embedding(model: nn.Module) -> tuple[str, nn.Module] | None:
    """The path of what turns token ids into vectors, and it: a table, or what stands for one. None if none is named."""
    try:
        found = model.get_input_embeddings()  # type: ignore[operator]
    except (AttributeError, NotImplementedError):
        return None
    paths = {module: path for path, module in model.named_modules()}
    return (paths[found], found) if isinstance(found, TABLES) else None


def _named_table(model: nn.Module) -> nn.Embedding | None:
    """The table in what `get_input_embeddings` of transformers gives, if there is such a method and such a table."""
    found = token_embedding(model)
    module = found[1] if found else None
    inner = module.table if isinstance(module, WRAPPED) else module
    return inner if isinstance(inner, nn.Embedding) else None


def product(model: nn.Module, path: str) -> nn.Module:
    """The product at `path`: a linear, plain, low-rank or transposed. A `TypeError` if something else stands there."""
    module = model.get_submodule(path)
    if not (isinstance(module, AnyLinear) or holds_transposed(module)):
        raise TypeError(f"{path} is a {type(module).__name__}, not a linear layer")
    return module


def plain_products(model: nn.Module) -> dict[str, nn.Module]:
    """Those that lie in nothing that is itself a product: no factor of a pair."""
    pairs = [f"{path}." for path, m in model.named_modules() if isinstance(m, Factored)]
    return {path: m for path, m in products(model).items() if not path.startswith(tuple(pairs))}


def plain_table(model: nn.Module) -> tuple[list[str], nn.Embedding, MappedEmbedding | None]:
    """Where token ids become vectors: its paths, the table, and the map that stands before it, if one does.

    Raises `NotApplicable` where the table is none any more, or serves elsewhere too.
    """
    found = token_embedding(model)
    whole = found[1] if found else None
    mapped = whole if isinstance(whole, MappedEmbedding) else None
    table = mapped.table if mapped else whole
    if not isinstance(table, nn.Embedding):
        raise NotApplicable("this model has no plain table of token embeddings")
    named = [name for name, p in model.named_parameters(remove_duplicate=False) if p is table.weight]
    paths = [name.removesuffix(".weight") for name in named]
    if strange := [each for each in paths if not isinstance(model.get_submodule(each), nn.Embedding)]:
        raise NotApplicable(f"the table of token embeddings is that of {strange[0]} too, which writes every token")
    return [each.removesuffix(".table") for each in paths] if mapped else paths, table, mapped


def replace_table(model: nn.Module, paths: list[str], new: nn.Module) -> None:
    """Put `new` where a table of token embeddings stands, whose parameters are one wherever it does."""
    for path in paths:
        twin = new if path == paths[0] else copy.deepcopy(new)
        for name, parameter in new.named_parameters():
            parent, _, own = name.rpartition(".")
            setattr(twin.get_submodule(parent), own, parameter)
        replace(model, path, twin)


def features(layer: nn.Module) -> tuple[int, int]:
    """How many numbers a product reads and gives: (I, O)."""
    if isinstance(layer, Factored):
        return layer.in_features, layer.out_features
    O, I = weight_OI(layer).shape
    return I, O


def replace(model: nn.Module, path: str, new: nn.Module) -> None:
    """Put `new` in the place of the submodule at `path`."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, new)


def keep_outputs(layer: nn.Module, index: Tensor) -> None:
    """Shrink a product in place to the output rows in `index`."""
    inner: Any = layer.up if isinstance(layer, LowRankLinear) else _cuttable(layer)
    _set_weight(inner, weight_OI(inner)[index])
    if inner.bias is not None:
        inner.bias = nn.Parameter(inner.bias.detach()[index].clone())


def keep_inputs(layer: nn.Module, index: Tensor) -> None:
    """Shrink a product in place to the input columns in `index`."""
    inner: Any = layer.down if isinstance(layer, LowRankLinear) else _cuttable(layer)
    _set_weight(inner, weight_OI(inner)[:, index])


def _cuttable(layer: nn.Module) -> nn.Module:
    if isinstance(layer, Factored):
        raise NotApplicable(f"the factors of a {type(layer).__name__} cannot be cut: cut first, and factorise after it")
    return layer


def _set_weight(layer: Any, W_OI: Tensor) -> None:
    """Give a plain product another weight, and the numbers that go with its shape."""
    O, I = W_OI.shape
    if holds_transposed(layer):
        layer.weight, layer.nf, layer.nx = nn.Parameter(W_OI.T.clone(memory_format=torch.contiguous_format)), O, I
    else:
        layer.weight, layer.out_features, layer.in_features = nn.Parameter(W_OI.clone()), O, I


def best(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` highest scores, ascending. Ties go to the lower index."""
    return torch.sort(scores, descending=True, stable=True).indices[:count].sort().values
