"""Patterns of attention, one file each: which tokens a token attends to, at less than the square of their number.

A pattern stands as the submodule `pattern` in the module that transformers calls an attention function for. Once one is
there, the model's config names our function, which asks the pattern, and torch's where there is none. Where a family's
attention adds positions to its scores, its table says what asks in its stead, and tells the pattern of them.
"""

from __future__ import annotations

import importlib
from functools import cache
from pkgutil import iter_modules
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.errors import NotApplicable
from autocompress.models.attentions.pattern import Pattern
from autocompress.models.families.anatomy import anatomy
from autocompress.models.families.asking import by_distance, put_before, seen_by_last

_NAME = "autocompress"  # of our function, among those of transformers


@cache
def patterns() -> dict[str, type[Pattern]]:
    """Every pattern there is, by name: the folder is the registry."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    found: list[type[Pattern]] = [module.PATTERN for module in modules if hasattr(module, "PATTERN")]
    return {pattern.name: pattern for pattern in found}


def make(entry: dict[str, Any]) -> Pattern | None:
    """The pattern that plain data describe; None if they make no sense."""
    knobs = {name: value for name, value in entry.items() if name != "pattern"}
    known = patterns().get(str(entry.get("pattern")))
    if known is None or set(knobs) != set(known.fields):
        return None
    return known(**knobs) if known.legal(knobs) else None


def install(model: nn.Module, pattern: Pattern) -> None:
    """Give every self-attention of the model this pattern. Raises `NotApplicable` where the family has no place."""
    found = anatomy(model)
    if found.family.asking and not pattern.pairs:
        raise NotApplicable(
            f"a {found.kind!r} model adds to the score of every pair of tokens what their distance says, and "
            f"{pattern.name} computes no pair's score to add it to"
        )
    own = [block.attentions[0].path for block in found.blocks if block.attentions]
    if not own:
        raise NotApplicable(f"a {found.kind!r} model has no attention")
    for path in own:
        attention: Any = model.get_submodule(path)
        if getattr(attention, "sliding_window", None):
            continue  # it has a pattern of its own
        if getattr(attention, "is_causal", False) and not pattern.causal:
            raise NotApplicable(f"{pattern.name} mixes in tokens that come later, which a decoder must not see")
        attention.pattern = make({"pattern": pattern.name, **pattern.knobs})
    switch_on(model)


def switch_on(model: Any) -> None:
    """Have the model's attentions call our function, or the pattern where they call none."""
    _register()
    for module in model.modules():
        if hasattr(getattr(module, "config", None), "_attn_implementation"):  # of an encoder and of a decoder
            module.config._attn_implementation = _NAME
    found = anatomy(model)
    if asking := found.family.asking:
        for stack in found.stacks:
            if asking.stack:
                put_before(model.get_submodule(stack.path.rpartition(".")[0]), asking.stack)
            for block in stack.blocks:
                put_before(model.get_submodule(block.attentions[0].path), asking.attention)


def is_on(model: Any) -> bool:
    """Whether a pattern stands in the model."""
    return any(isinstance(module, Pattern) for module in model.modules())


@cache
def _register() -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, _mask)


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **more: Any
) -> tuple[Tensor, None]:
    """As transformers' attention functions: (B, H, T, K) each -> (B, T, H, K)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    pattern = getattr(module, "pattern", None)
    if pattern is None:
        if attention_mask is not None and attention_mask.shape[-2] == 1:
            attention_mask = attention_mask.expand(-1, -1, query.shape[2], -1)
        given: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **more)
        return given
    if (repeats := query.shape[1] // key.shape[1]) > 1:
        key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    seen_BT = seen_by_last(attention_mask, key)
    scale = more.get("scaling") or query.shape[-1] ** -0.5
    causal = bool(getattr(module, "is_causal", False))
    before = key.shape[2] - query.shape[2] if causal else 0  # tokens that a decoder has read before, and remembers
    if causal:  # a pattern finds a token by its place: rows for those before, which nobody reads
        query = F.pad(query, (0, 0, before, 0))
    added = [] if more.get("position_bias") is None else [by_distance(more["position_bias"])]
    out_BHTK = pattern(query, key, value, seen_BT, float(scale), causal, *added)
    return out_BHTK[:, :, before:].transpose(1, 2).contiguous(), None


def _mask(*, attention_mask: Tensor | None = None, mask_function: Any = None, **more: Any) -> Tensor | None:
    """A row for all queries where each sees the same keys; else as torch's attention has it."""
    from transformers.masking_utils import bidirectional_mask_function, sdpa_mask

    if mask_function is bidirectional_mask_function:
        return None if attention_mask is None else attention_mask[:, None, None, :]
    more["allow_is_causal_skip"] = False
    found: Tensor | None = sdpa_mask(attention_mask=attention_mask, mask_function=mask_function, **more)
    return found
