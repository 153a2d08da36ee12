"""What a smaller model begins with: weights taken from a larger one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.models.cutting import spread
from autocompress.models.factored.tables import MappedEmbedding, NarrowEmbedding
from autocompress.models.families.anatomy import anatomy

_WIDTHS = ("hidden_size", "dim", "n_embd", "d_model")  # what families call the width of a layer, of its feed-forward,
_FFN_WIDTHS = ("intermediate_size", "hidden_dim", "n_inner", "d_ff")  # and the number of heads
_HEADS = ("num_attention_heads", "n_heads", "n_head", "num_heads")


def drawn_like(config: Any, kind: type[nn.Module], layers: int, width: int) -> nn.Module:
    """A model of the same family and the same size of heads, of so many layers and that width, drawn anew."""
    wide, ffn, heads = (_named(config, names) for names in (_WIDTHS, _FFN_WIDTHS, _HEADS))
    size = getattr(config, wide) // getattr(config, heads)
    if width % size or width < size:
        raise NotApplicable(f"a width must be a multiple of {size}, the size of the teacher's heads. Got {width}")
    times = (getattr(config, ffn) or 4 * getattr(config, wide)) / getattr(config, wide)
    before = getattr(config, heads)
    changes = {wide: width, ffn: round(times * width), heads: width // size}
    if kv_heads := getattr(config, "num_key_value_heads", None):
        changes["num_key_value_heads"] = max(1, kv_heads * changes[heads] // before)
    if kinds := getattr(config, "layer_types", None):
        config.layer_types = [kinds[i] for i in spread(len(kinds), layers)] if layers <= len(kinds) else None
    if getattr(config, "pooler_hidden_size", None):
        changes["pooler_hidden_size"] = width
    for depth in ("num_hidden_layers", "n_layers", "n_layer", "num_layers", "num_decoder_layers"):
        if getattr(config, depth, None):
            changes[depth] = layers
    for name, value in changes.items():
        setattr(config, name, value)
    return kind(config)


def _named(config: Any, names: tuple[str, ...]) -> str:
    found = [name for name in names if hasattr(config, name)]
    if not found:
        raise NotApplicable(f"the config of a {config.model_type!r} model names no {names[0]}")
    return found[0]


@torch.no_grad()
def weights_from(student: nn.Module, teacher: nn.Module) -> None:
    """Evenly spaced layers, and of every tensor evenly spaced entries along each axis."""
    theirs = dict(teacher.named_parameters())
    places: dict[str, str] = {}
    for ours, other in zip(anatomy(student).stacks, anatomy(teacher).stacks, strict=True):
        for i, chosen in enumerate(spread(len(other.blocks), len(ours.blocks))):
            places[f"{ours.blocks[i].path}."] = f"{other.blocks[chosen].path}."
    for name, parameter in student.named_parameters():
        start = next((mine for mine in places if name.startswith(mine)), "")
        source = theirs.get(places.get(start, "") + name.removeprefix(start))
        if source is not None and source.ndim == parameter.ndim:
            parameter.copy_(_thinned(source, parameter.shape))


def _thinned(source: Tensor, shape: torch.Size) -> Tensor:
    for axis, size in enumerate(shape):
        if source.shape[axis] != size:
            source = source.index_select(axis, torch.tensor(spread(source.shape[axis], size)))
    return source


@torch.no_grad()
def embeddings_from(student: Any, teacher: Any) -> None:
    """The teacher's token vectors in the directions in which they vary most, as large as the student's own were."""
    table, W_VD = student.get_input_embeddings().weight, token_vectors(teacher.get_input_embeddings())
    if W_VD.shape[1] < table.shape[1]:
        table[:, : W_VD.shape[1]].copy_(W_VD)
        return
    centred = W_VD - W_VD.mean(0)
    _, Q_DD = torch.linalg.eigh(centred.T @ centred)
    P_VE = centred @ Q_DD.flip(1)[:, : table.shape[1]]
    table.copy_(P_VE / P_VE.std().clamp_min(1e-12) * 0.1)


def token_vectors(module: nn.Module) -> Tensor:
    """The vector of every token id (V, D), in whatever form the table is."""
    if isinstance(module, MappedEmbedding):
        return token_vectors(module.table)[module.row_of.long()]
    if isinstance(module, NarrowEmbedding):
        return token_vectors(module.table) @ module.up.weight.detach().T
    if isinstance(module, nn.Embedding):
        return module.weight.detach()
    whole: Tensor = module.train_of.matrix()  # type: ignore[union-attr,operator]
    return whole[: module.num_embeddings].detach()
