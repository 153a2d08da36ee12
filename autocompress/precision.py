"""How each layer's numbers are stored and multiplied once the model is lowered to its runtime.

Methods add to the plan while the recipe is applied; the runtime carries it out or refuses it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from autocompress.errors import NotApplicable


@dataclass(frozen=True)
class Precision:
    """Of one layer: its weights' format, its activations' format, one scale a tensor or one an output channel."""

    weight: Literal["int8"]
    activation: Literal["float32", "dynamic_int8"] = "float32"
    per_channel: bool = False


class PrecisionPlan(dict[str, Precision]):
    """Module path -> Precision. A module that is absent stays in float32."""

    def add(self, paths: Iterable[str], precision: Precision) -> None:
        """Plan `precision` for the modules at `paths`. Raise `NotApplicable` where another one is planned."""
        for path in paths:
            if path in self and self[path] != precision:
                raise NotApplicable(f"two precisions for {path}: {self[path]} and {precision}")
            self[path] = precision

    def dump(self) -> dict[str, dict[str, Any]]:
        return {path: asdict(precision) for path, precision in sorted(self.items())}

    @classmethod
    def load(cls, data: dict[str, dict[str, Any]]) -> PrecisionPlan:
        return cls({path: Precision(**fields) for path, fields in data.items()})
