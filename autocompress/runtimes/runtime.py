"""A runtime: what turns a compressed torch module into the artefact that ships, and runs it.

One folder each in `runtimes/`; its name is what `target.runtime` says.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from autocompress.errors import ConfigError
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.space.settings import Target

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from autocompress.tasks.dataset import Batch

    Inputs = Mapping[str, Tensor | np.ndarray]


class Session(Protocol):
    """An opened artefact."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What its answers are called, as the artefact itself says; none where it does not."""

    def run(self, batch: Inputs) -> np.ndarray:
        """Logits, float32: (B, C), or (B, T, C) of a model that answers token by token.

        `batch` holds tensors or arrays by name.
        """

    def outputs(self, batch: Inputs) -> dict[str, Any]:
        """All that it gives, by name: `logits`, and what `models.remembered` tells of, as the session itself has it."""


class Runtime(Protocol):
    """Lowers, opens and describes. Everything that is reported was run through `open`."""

    packages: tuple[str, ...]  # what `open` and the session import: all that a served model needs to have installed
    opened_by: str  # what runs the artefact without autocompress; nothing, where it is the exported module itself
    rounds_by_nodes: bool  # inputs that are rounded when the model runs are, by operators in its file

    def support(self, plan: PrecisionPlan, target: Target) -> None:
        """Raise `NotApplicable` with the reason if this plan cannot be carried out on that target."""

    def computes_in(self, dtype: str, device: str) -> bool:
        """Whether a whole model can be computed in that format at least as fast as in float32."""

    def lower(self, model: nn.Module, plan: PrecisionPlan, batch: Batch, folder: Path) -> None:
        """Write the artefact of `model` into `folder`. `batch` is an example of what it reads."""

    def open(self, folder: Path, target: Target) -> Session:
        """Make the artefact in `folder` ready to run."""

    def simulate(self, model: nn.Module, plan: PrecisionPlan) -> nn.Module:
        """A copy of `model` in torch that rounds what this runtime rounds when it carries the plan out."""

    def stored_bytes(self, O: int, I: int, precision: Precision, *, table: bool) -> float:
        """What its file takes for a matrix (O, I) of that precision, of a product or a table that is looked up in."""

    def artefact(self, folder: Path) -> Path:
        """The model file, or the folder that holds nothing but its files: their bytes are `size_mb`."""

    def describe(self) -> dict[str, Any]:
        """Versions and options, for the record."""


def find_runtime(name: str) -> Runtime:
    """The runtime that a target names. Raises `ConfigError` if its package is not installed."""
    try:
        runtime: Runtime = importlib.import_module(f"autocompress.runtimes.{name}.runtime").RUNTIME
    except ModuleNotFoundError as e:
        if e.name != name:
            raise
        raise ConfigError(f"target.runtime: {name} is not installed. Run: pip install 'autocompress[{name}]'") from None
    return runtime


class Timed(NamedTuple):
    """What a piece of the artefact takes in one run: the module that it was made of, and its operator if it has one."""

    path: str
    operator: str
    seconds: float


Tracer = Callable[[Path, Target, "Inputs"], list[Timed]]


def find_tracer(name: str) -> Tracer | None:
    """How a runtime times the pieces of an artefact: `trace` in `runtimes/<name>/trace.py`. None if it cannot."""
    module = f"autocompress.runtimes.{name}"
    if find_spec(module) is None or find_spec(f"{module}.trace") is None:
        return None
    tracer: Tracer = importlib.import_module(f"{module}.trace").trace
    return tracer
