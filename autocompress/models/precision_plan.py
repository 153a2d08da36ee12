"""How each layer's numbers are stored and multiplied once the model is lowered to its runtime.

Methods add to the plan while the recipe is applied; the runtime carries it out or refuses it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from autocompress.errors import NotApplicable

if TYPE_CHECKING:
    from torch import Tensor

_FILE, _SCALES = "precision.json", "precision.safetensors"

Weight = str  # a file in formats/
Activation = Literal["float32", "dynamic_int8", "static_int8", "float16", "bfloat16"]


@dataclass(frozen=True)
class Precision:
    """Of one layer: its weights' format, what they are multiplied with, and how many numbers share a scale.

    Weights: one scale a tensor; with `per_channel` one an output channel (of an embedding: a row); with `group_size`
    one for that many adjacent inputs of an output channel. Dynamic inputs: one scale a batch, or with `per_token` one a
    token. `bits` of a code where its format leaves that open, else 0. Where a code stands for several numbers,
    `group_size` of them.
    """

    weight: Weight
    activation: Activation = "float32"
    per_channel: bool = False
    group_size: int = 0
    per_token: bool = False
    bits: int = 0

    @property
    def row_by_row(self) -> bool:
        """Whether what it computes of one text does not depend on the others of its batch."""
        return self.activation != "dynamic_int8" or self.per_token


class PrecisionPlan(dict[str, Precision]):
    """Module path -> Precision. A module that is absent stays in float32.

    `scales` holds what the weights alone do not tell, as "<path>.<name>": `weight_scale` (O, G), `input_scale` and
    `input_zero_point` (scalars; real = scale · (code - zero point), codes 0 to 255), `input_smooth` (I,), by which
    inputs are divided and the weight's columns multiplied before either is rounded, and `codebook`, what codes stand
    for.
    """

    def __init__(self, entries: Mapping[str, Precision] | None = None, scales: Mapping[str, Tensor] | None = None):
        super().__init__(entries or {})
        self.scales: dict[str, Tensor] = dict(scales or {})

    @property
    def row_by_row(self) -> bool:
        """Whether the model answers each text of a batch as it would answer it alone, but for rounding."""
        return all(precision.row_by_row for precision in self.values())

    def add(self, paths: Iterable[str], precision: Precision, scales: Mapping[str, Tensor] | None = None) -> None:
        """Plan `precision` for the modules at `paths`. Raise `NotApplicable` where another one is planned."""
        for path in paths:
            if path in self and self[path] != precision:
                raise NotApplicable(f"two precisions for {path}: {self[path]} and {precision}")
            self[path] = precision
        for name, tensor in (scales or {}).items():
            if name in self.scales:
                raise NotApplicable(f"two scales for {name}: a tensor has one precision")
            self.scales[name] = tensor.detach()

    def scale(self, path: str, name: str) -> Tensor | None:
        """The scale `name` of the module at `path`, or None if it follows from the weights."""
        return self.scales.get(f"{path}.{name}")

    def given(self, path: str) -> dict[str, Tensor]:
        """All scales of the module at `path`, by name."""
        return {name: self.scales[f"{path}.{name}"] for name in self._scales_of(path)}

    def dump(self) -> dict[str, dict[str, Any]]:
        """As plain data, without the scales' values: equal dumps have equal kernels and bytes."""
        return {path: _plain(precision) | {"scales": self._scales_of(path)} for path, precision in sorted(self.items())}

    def save(self, folder: Path) -> None:
        """Write precision.json, and precision.safetensors if there are scales."""
        (folder / _FILE).write_text(json.dumps(self.dump(), indent=1))
        if self.scales:
            from safetensors.torch import save_file  # with torch: who serves a model needs neither

            save_file({name: tensor.contiguous() for name, tensor in self.scales.items()}, folder / _SCALES)

    @classmethod
    def load(cls, folder: Path) -> PrecisionPlan:
        """The inverse of `save`."""
        from safetensors.torch import load_file

        scales = load_file(folder / _SCALES) if (folder / _SCALES).exists() else {}
        return cls.parse(json.loads((folder / _FILE).read_text()), scales)

    @classmethod
    def parse(cls, dumped: Mapping[str, Mapping[str, Any]], scales: Mapping[str, Tensor]) -> PrecisionPlan:
        """The inverse of `dump`, which knows no scales."""
        fields = {path: {k: v for k, v in entry.items() if k != "scales"} for path, entry in dumped.items()}
        return cls({path: Precision(**known) for path, known in fields.items()}, scales)

    def _scales_of(self, path: str) -> list[str]:
        start = f"{path}."
        return sorted(name.removeprefix(start) for name in self.scales if name.rpartition(".")[0] == path)


def _plain(precision: Precision) -> dict[str, Any]:
    """Without `bits` where the format says them: entries from before there were others keep their digests."""
    return {name: value for name, value in asdict(precision).items() if name != "bits" or value}
