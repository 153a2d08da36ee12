"""The names of a classifier's answers in the file that its runtime opens, for programs that know nothing but that.

They are called `id2label`, as in config.json, and are JSON as there: `{"0": "bad", "1": "good"}`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

KEY = "id2label"


def of_model(model: nn.Module) -> tuple[str, ...]:
    """By number; none of a model that gives no labels."""
    from autocompress.models.decoders.decoding import decodes  # loads torch

    found = getattr(getattr(model, "config", None), KEY, None)
    return () if not found or decodes(model) else tuple(str(found[row]) for row in sorted(found))


def write(model: nn.Module) -> dict[str, str]:
    """What an artefact of the model says besides."""
    names = of_model(model)
    return {KEY: json.dumps(dict(enumerate(names)))} if names else {}


def read(said: str | None) -> tuple[str, ...]:
    """The inverse; none of an artefact that says nothing. A `ValueError` for anything else."""
    found: Any = {} if said is None else json.loads(said)
    if not isinstance(found, dict) or list(found) != [str(row) for row in range(len(found))]:
        raise ValueError(f"{KEY} should be names by number")
    return tuple(map(str, found.values()))
