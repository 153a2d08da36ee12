"""Where a model keeps its layers, attentions and feed-forwards, as its family's table says.

A family is one file of this folder with a `FAMILY`; the folder is the registry. What a table names is looked for in
the model, and what this model lacks (a decoder, a gate) is left out.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pkgutil import iter_modules
from typing import Any, TypeVar

from torch import nn

from autocompress.errors import NotApplicable
from autocompress.models.families.asking import Asking
from autocompress.models.surgery import features, product

T = TypeVar("T")


@dataclass(frozen=True)
class Projection:
    """The outputs of a product that play one role: all of them, or one of several equal parts of a fused product."""

    path: str
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Attention:
    """One attention. Its heads share `kv_heads` keys and values in equal groups."""

    path: str  # of the module that counts its heads
    q: Projection
    k: Projection
    v: Projection
    o: str
    heads: int
    kv_heads: int
    head_size: int  # K
    more: tuple[tuple[Projection, str], ...] = ()  # what has the same rows as its "q" or "k" besides

    @property
    def units(self) -> int:
        """How many things can be cut out alone: heads, or where several share a key, each such group."""
        return self.kv_heads if self.kv_heads > 1 else self.heads

    @property
    def projections(self) -> tuple[str, ...]:
        """The paths of its products, each once."""
        more = (projection.path for projection, _ in self.more)
        return tuple(dict.fromkeys((self.q.path, self.k.path, self.v.path, *more, self.o)))


@dataclass(frozen=True)
class FeedForward:
    """What leads into its neurons (up, or gate and up) and what leads out."""

    ins: tuple[Projection, ...]
    down: str

    @property
    def products(self) -> tuple[str, ...]:
        """Their paths, each once."""
        return tuple(dict.fromkeys((*(into.path for into in self.ins), self.down)))


@dataclass(frozen=True)
class Block:
    """One layer's parts."""

    path: str
    attentions: tuple[Attention, ...]  # to itself, then to another stack
    ffns: tuple[FeedForward, ...]
    others: tuple[str, ...] = ()  # the paths of products in neither

    @property
    def projections(self) -> tuple[str, ...]:
        """The paths of the products of its attentions."""
        return tuple(path for attention in self.attentions for path in attention.projections)


@dataclass(frozen=True)
class Stack:
    """Blocks that run one after the other."""

    path: str  # of the ModuleList
    blocks: tuple[Block, ...]
    depth: str  # the config's number of layers
    passes: int  # layers that a text goes through
    shared: bool  # whether a block runs several times, so that there are fewer than passes
    position_table: str | None  # an embedding with a column a head, which all blocks read: head i is the same in each


@dataclass(frozen=True)
class Anatomy:
    """One model seen through its family's table."""

    family: Family
    kind: str  # the model type that its config names
    stacks: tuple[Stack, ...]

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(block for stack in self.stacks for block in stack.blocks)

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """Those of all blocks. `NotApplicable` if there are none."""
        return self._any(tuple(attention for block in self.blocks for attention in block.attentions), "attention heads")

    @property
    def ffns(self) -> tuple[FeedForward, ...]:
        """Those of all blocks. `NotApplicable` if there are none."""
        return self._any(tuple(ffn for block in self.blocks for ffn in block.ffns), "feed-forward neurons")

    def paths(self, scope: str) -> tuple[str, ...]:
        """Of the products of all layers (`all`), or of their attentions (`attention`) or feed-forwards (`ffn`) only."""
        found = [block.projections if scope != "ffn" else () for block in self.blocks]
        ffns = [tuple(path for ffn in block.ffns for path in ffn.products) for block in self.blocks]
        if scope == "attention":
            ffns = [() for _ in self.blocks]
        others = [block.others if scope == "all" else () for block in self.blocks]
        return tuple(path for parts in zip(found, ffns, others, strict=True) for paths in parts for path in paths)

    def _any(self, found: tuple[T, ...], what: str) -> tuple[T, ...]:
        if not found:
            raise NotApplicable(f"a {self.kind!r} model has no {what}")
        return found


@dataclass(frozen=True)
class Family:
    """A table of paths and names. Stacks are looked for in the encoder, the other paths in a block."""

    model_types: tuple[str, ...]
    stacks: Mapping[str, str]  # path of a ModuleList -> the config's number of its layers
    attentions: tuple[tuple[str, str, str, str, str], ...]  # the module that counts its heads, q, k, v, o
    ffns: tuple[tuple[tuple[str, ...], str], ...]  # what leads in, what leads out: those that a block has
    ffn_width: str  # the config's feed-forward width
    head_size: str  # the attention's name for it
    counters: Mapping[str, str]  # the attention's own numbers: name -> "heads", "width" (of all heads) or "group"
    products: tuple[str, ...] = ()  # of a block's others: those in neither an attention nor a feed-forward
    inner: str | None = None  # the ModuleList in each member of a stack that holds its blocks
    position_table: str | None = None  # in the first block, or in the encoder
    like: Mapping[str, str] = field(default_factory=dict)  # a block's product -> "q" or "k", whose rows it has too
    asking: Asking | None = None  # where its attentions add positions to the scores of q and k
    before_drop: Callable[[Any, Stack, list[int]], None] = lambda model, stack, kept: None


def families() -> dict[str, Family]:
    """Every family there is, by the model types that a config.json names."""
    from autocompress.models import families as package

    return _in_folders(package.__name__, tuple(package.__path__))


@cache
def _in_folders(package: str, folders: tuple[str, ...]) -> dict[str, Family]:
    modules = [importlib.import_module(f"{package}.{found.name}") for found in iter_modules(folders)]
    tables: list[Family] = [module.FAMILY for module in modules if hasattr(module, "FAMILY")]
    return {kind: table for table in tables for kind in table.model_types}


def anatomy(model: nn.Module) -> Anatomy:
    """Where `model` (an encoder, bare or under a head) keeps its parts. `NotApplicable` for an unknown family."""
    kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    family = families().get(kind)
    if family is None:
        raise NotApplicable(f"the layout of a {kind!r} model is not known. Known: {', '.join(families())}")
    prefix = str(getattr(model, "base_model_prefix", ""))
    root = f"{prefix}." if prefix and hasattr(model, prefix) else ""
    stacks = {root + path: depth for path, depth in family.stacks.items() if has(model, root + path)}
    return Anatomy(family, kind, tuple(_stack(model, family, root, path, depth) for path, depth in stacks.items()))


def has(model: nn.Module, path: str) -> bool:
    """Whether there is a submodule at `path`."""
    try:
        return isinstance(model.get_submodule(path), nn.Module)
    except AttributeError:
        return False


def _stack(model: Any, family: Family, root: str, path: str, depth: str) -> Stack:
    places = [f"{path}.{i}" for i in range(len(model.get_submodule(path)))]
    if family.inner:
        inner = [f"{place}.{family.inner}" for place in places]
        places = [f"{place}.{i}" for place in inner for i in range(len(model.get_submodule(place)))]
    passes = getattr(model.config, depth) if family.inner else len(places)
    tables = [f"{places[0]}.{family.position_table}", f"{root}{family.position_table}"]
    table = next((table for table in tables if has(model, table)), None)
    blocks = tuple(_block(model, family, place) for place in places)
    return Stack(path, blocks, depth, passes, bool(family.inner), table)


def _block(model: nn.Module, family: Family, place: str) -> Block:
    ffns = tuple(
        FeedForward(_parts([f"{place}.{path}" for path in ins]), f"{place}.{down}")
        for ins, down in family.ffns
        if all(has(model, f"{place}.{path}") for path in (*ins, down))
    )
    others = tuple(f"{place}.{path}" for path in family.products if has(model, f"{place}.{path}"))
    return Block(place, tuple(_attentions(model, family, place)), ffns, others)


def _attentions(model: nn.Module, family: Family, place: str) -> Iterator[Attention]:
    for counting, *roles, out in family.attentions:
        if has(model, f"{place}.{counting}"):
            q, k, v = _parts([f"{place}.{role}" for role in roles])
            size: Any = getattr(model.get_submodule(f"{place}.{counting}"), family.head_size)
            heads, kv_heads = (features(product(model, p.path))[1] // p.parts // size for p in (q, k))
            like = [(Projection(f"{place}.{path}"), role) for path, role in family.like.items()]
            more = tuple((projection, role) for projection, role in like if has(model, projection.path))
            yield Attention(f"{place}.{counting}", q, k, v, f"{place}.{out}", heads, kv_heads, size, more)


def _parts(paths: list[str]) -> tuple[Projection, ...]:
    """A path that stands several times is a fused product."""
    return tuple(Projection(path, paths[:i].count(path), paths.count(path)) for i, path in enumerate(paths))
