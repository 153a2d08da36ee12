"""A recipe: an ordered list of methods with every knob decided. Time flows downward."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Any

from autocompress.space.method import Method, find
from autocompress.space.recorded import Traits, read_step

Steps = list[dict[str, dict[str, Any]]]


class Recipe(tuple[Method, ...]):
    """What one trial does to the model. Its methods are frozen, so what is worked out of them is worked out once."""

    @cached_property
    def key(self) -> str:
        """Equal recipes have equal keys."""
        return digest(self.dump())

    @property
    def shape_key(self) -> str:
        """Recipes with equal shape keys lower to artefacts of the same shapes, size and latency."""
        return digest([{m.name: {} if m.values_only else m.model_dump(mode="json")} for m in self])

    @property
    def trained(self) -> Recipe:
        """The recipe up to its last training: recipes that differ in the tail alone train alike."""
        return self.stages[-1] if self.stages else Recipe()

    @property
    def tail(self) -> Recipe:
        """What follows the last training."""
        return Recipe(self[len(self.trained) :])

    @property
    def stages(self) -> list[Recipe]:
        """What was done by the end of each training: every prefix that ends with one."""
        return [Recipe(self[: i + 1]) for i, method in enumerate(self) if method.trains]

    def training_steps(self, texts: int) -> int:
        """How many steps all of its trainings take together on so many training texts."""
        steps, factor = 0, 1
        for method in self:
            steps += method.training_steps(factor * texts)
            factor = 1 if method.trains else factor * method.text_factor
        return steps

    @property
    def title(self) -> str:
        """What a person calls it: the names of its steps."""
        return "+".join(method.name for method in self) or "nothing"

    def dump(self) -> Steps:
        """As plain data, every knob spelled out."""
        return [{method.name: method.model_dump(mode="json")} for method in self]

    @classmethod
    def load(cls, steps: Steps) -> Recipe:
        """The inverse of `dump`."""
        return cls(find(name)(**knobs) for step in steps for name, knobs in step.items())

    @classmethod
    def read(cls, steps: Steps, traits: Traits | None = None) -> Recipe:
        """The same of what another version may have written: a step that this one does not know is kept as it is.

        Such a recipe can be shown and compared with others, and not be carried out. With the `traits` that a study has
        written down of its methods, every step is kept as it is, and no method is loaded.
        """
        return cls(read_step(name, knobs, traits) for step in steps for name, knobs in step.items())

    def fault(self) -> str | None:
        """Why this order of steps cannot work, or None. Known before anything runs."""
        return self._fault

    @cached_property
    def _fault(self) -> str | None:
        lowered: Method | None = None
        shared: Method | None = None
        fitted: Method | None = None
        for i, method in enumerate(self):
            cuts = method.stage in ("student", "structure", "factor") and not method.values_only
            if method.stage == "student" and (lost := [m.name for m in self[:i] if m.trains or not m.pending]):
                return f"{method.name} comes after {lost[-1]}: it puts another model in the place of what that made"
            if shared and method.stage == "structure":
                return (
                    f"{method.name} comes after {shared.name}: what several layers share cannot be cut for one of them"
                )
            if fitted and cuts:
                return (
                    f"{method.name} comes after {fitted.name}: what that trains is fitted to the shapes the model has, "
                    "until a finetune is done with it"
                )
            if lowered and method.stage in ("student", "structure", "factor"):
                return f"{method.name} comes after {lowered.name}: shapes are final once a precision is chosen"
            if method.stage == "lower" and method.name in {m.name for m in self[:i]}:
                return f"{method.name} stands twice: a tensor has one precision"
            if method.waits and not any(m.trains for m in self[i + 1 :]):
                return f"{method.name} needs a later finetune: it only acts while that one trains"
            lowered = method if method.stage == "lower" else lowered
            shared = method if method.family == "sharing" else shared
            fitted = method if method.fitted and method.waits else None if method.trains else fitted
        return None


def digest(data: Any) -> str:
    """The first 16 hex digits of the sha256 of `data`'s canonical JSON."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]
