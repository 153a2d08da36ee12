"""A model that continues texts, run token by token: the keys and values of what it has read are tensors in and out."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.models.decoders.remembered import ASKED, PAST, PRESENT, names, past_of
from autocompress.tasks.dataset import Batch

_PROBE = 6  # tokens


class Decoder(nn.Module):
    """`model` as a function of tensors by name.

    Given input_ids (B, T), attention_mask (B, P + T) of all that was read, past.* (B, H, P, K) each, or none where
    nothing was read before, and asked (A,), the places of the tokens whose logits are wanted, or none for all T. Gives
    logits (B, A, V) and present.* (B, H, P + T, K). What the mask leaves out counts for no position, so a batch may be
    filled up on either side.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        known = inspect.signature(model.forward).parameters
        self._cache = "cache" if "cache" in known else "past_key_values"  # its name since transformers 5.24, and before

    def forward(self, batch: Batch) -> Batch:
        from transformers import DynamicCache

        past = [batch[name] for name in batch if name.startswith(f"{PAST}.")]
        cache: Any = DynamicCache(list(zip(past[::2], past[1::2], strict=True))) if past else DynamicCache()
        ids_BT, read_BS = batch["input_ids"], batch["attention_mask"]
        position_BT = (read_BS.cumsum(-1) - 1).clamp_min(0)[:, -ids_BT.shape[1] :]
        given = self.model(
            input_ids=ids_BT, attention_mask=read_BS, position_ids=position_BT, use_cache=True,
            logits_to_keep=batch.get(ASKED, 0), **{self._cache: cache},
        )  # fmt: skip
        kept = zip(names(len(cache.layers), PRESENT), _tensors(cache), strict=True)
        return {"logits": given.logits.float(), **dict(kept)}


def decodes(model: nn.Module) -> bool:
    """Whether it is one of transformers' models that continue texts."""
    return bool(getattr(model, "can_generate", lambda: False)())


@torch.no_grad()
def reads_ahead(model: nn.Module) -> bool:
    """Whether what comes later in a text changes what the model says of its earlier tokens."""
    ids_BT = torch.arange(1, _PROBE + 1).repeat(2, 1) % model.get_input_embeddings().num_embeddings  # type: ignore[operator]
    ids_BT[1, -1] = 0
    logits_BTV = model(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT)).logits
    one, other = logits_BTV[:, :-1]
    return not torch.allclose(one, other, rtol=1e-3, atol=1e-4, equal_nan=True)


def past_example(model: nn.Module, batch: Batch) -> Batch:
    """What the model remembers of the first tokens of a batch, by the names under which it reads that."""
    with torch.no_grad():
        return past_of(Decoder(model).eval()(batch))


def _tensors(cache: Any) -> list[Tensor]:
    return [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
