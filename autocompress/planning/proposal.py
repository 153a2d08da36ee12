"""Which methods can pay on a model and its texts: the steps of a first space, each with the reason.

What is offered follows from what was measured: where the bytes and the time are, how long texts are. The order is that
of the literature: smaller shapes, then fine-tuning with distillation, precision last.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from autocompress.planning.look import Look

_TABLE = 0.2  # of the bytes: a table of tokens that is worth cutting
_LONG, _DENSE = 128, 0.25  # tokens, and a share of the latency: where products of attention are worth thinning out
_DEEP, _WIDE = 4, 256


class Offer(NamedTuple):
    """A step of the space and why it stands there."""

    step: Any
    why: str


def proposal(seen: Look, device: str, *, fast: bool, small: bool) -> list[Offer]:
    """`fast`: latency is limited; `small`: size is. Quality is won back in either case."""
    offers = [*_structure(seen, small=small), *_texts(seen, fast=fast)]
    offers.append(Offer(
        {"one_of": ["skip", "soft_labels", ["soft_labels", "relations"]]},
        "learn from the uncompressed model too, and from how its tokens are related",
    ))  # fmt: skip
    offers.append(Offer({"finetune": {"epochs": [2, 4]}}, "win back what the steps before lost"))
    offers.append(_precision(device, small=small))
    return offers


def _structure(seen: Look, *, small: bool) -> list[Offer]:
    """Steps that leave smaller shapes."""
    offers, table = [], seen.bytes_of("embeddings")
    if seen.layers >= _DEEP:
        step = {"one_of": ["skip", "layers", "blocks"]}
        offers.append(Offer(step, f"{seen.layers} layers: whole ones, or the heads and neurons that matter least"))
    elif seen.layers:
        offers.append(Offer({"one_of": ["skip", "heads", "neurons"]}, "parts of layers, for there are few of them"))
    if seen.width >= _WIDE and seen.layers:
        offers.append(Offer({"one_of": ["skip", "weighted_low_rank"]}, "two thin matrices for a thick one"))
    if small and table > _TABLE:
        cut = {"one_of": ["skip", "vocabulary", ["vocabulary", "factorized_embedding"]]}
        offers.insert(0, Offer(cut, f"the table of tokens holds {table:.0%} of the bytes"))
    return offers


def _texts(seen: Look, *, fast: bool) -> list[Offer]:
    """Steps that pay on long texts."""
    dense = seen.time_of("attention products")
    if not fast or seen.max_length < _LONG:
        return []
    if dense < _DENSE:
        return [Offer({"one_of": ["skip", "sequence_length"]}, "texts are long: their ends may say little")]
    step = {"one_of": ["skip", "sequence_length", "sliding_window"]}
    return [Offer(step, f"texts are long, and products of attention take {dense:.0%} of the time")]


def _precision(device: str, *, small: bool) -> Offer:
    if device == "cpu":
        return Offer({"one_of": ["skip", "int8_dynamic", *(["weight_only"] * small)]}, "fewer bits a weight")
    return Offer({"one_of": ["skip", "half"]}, "half precision, which a GPU multiplies faster")
