"""The names of what a model that continues texts remembers of them, in the files of every runtime. Needs no torch.

A run reads past.0.key, past.0.value, past.1.key, ..., which are (B, H, P, K) each, and gives present.0.key, ... with
the tokens that it read at the end, (B, H, P + T, K): what the next run reads as past.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

PAST, PRESENT = "past", "present"
ASKED = "asked"  # (A,): the places of the tokens whose logits are wanted


def names(layers: int, which: str) -> list[str]:
    """Of the keys and values of so many layers; `which` is PAST or PRESENT."""
    return [f"{which}.{i}.{role}" for i in range(layers) for role in ("key", "value")]


def past_of(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a run gave to remember, as the next one reads it."""
    return {name.replace(PRESENT, PAST, 1): x for name, x in outputs.items() if name.startswith(f"{PRESENT}.")}


def filled(batch: Mapping[str, Any], graph: Mapping[str, tuple[Sequence[Any], str]]) -> dict[str, np.ndarray]:
    """What a graph reads, by name. Without a past it begins anew, and without `asked` all tokens are.

    `graph`: of each input its shape, whose free axes are no numbers, and what its type is called.
    """
    found = {name: np.asarray(batch[name]) for name in graph if name in batch}
    for name in graph.keys() - batch.keys():
        shape, kind = graph[name]
        rows, tokens = np.shape(batch["input_ids"])
        if name == ASKED:
            found[name] = np.arange(tokens)
        elif name.startswith(f"{PAST}."):
            dtype = np.float16 if "16" in kind else np.float32
            found[name] = np.zeros((rows, int(shape[1]), 0, int(shape[3])), dtype)
        else:
            raise KeyError(name)
    return found
