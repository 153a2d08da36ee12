"""What is timed of a model: one forward pass, or of a model that goes on writing its first token and each after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from autocompress.space.goals import NEXT_TOKEN

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

FORWARD, FIRST_TOKEN = "forward", "first_token"
__all__ = ["FIRST_TOKEN", "FORWARD", "NEXT_TOKEN", "Workload"]


class Workload(NamedTuple):
    """The run of a batch, by a session whose cache holds what it has read before."""

    name: str
    figures: str  # what the names of its figures begin with: "" of `latency_ms`, "token_" of `token_latency_ms`
    batch: Mapping[str, Tensor | NDArray[Any]]
    before: Mapping[str, Tensor | NDArray[Any]] | None = None  # nothing: it begins anew
