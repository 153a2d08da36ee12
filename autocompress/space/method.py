"""A method: one file, one class, one step of a recipe."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
)
from pydantic.fields import FieldInfo

from autocompress.errors import ConfigError, nearest
from autocompress.space.distributions import Choice, Distribution, Fixed, Neutral, Range, is_unsaid

if TYPE_CHECKING:
    from torch import nn

    from autocompress.methods.context import Context

Stage = Literal["student", "structure", "factor", "train", "lower"]
Gain = Literal["latency", "bytes", "quality", "memory"]  # memory: of the training

_METHODS: dict[str, type[Method]] = {}


class Method(BaseModel):
    """One step of a recipe: its knobs are the fields, its work is `apply`.

    The file is the name: `methods/pruning/heads.py` is the method `heads` of the family `pruning`.
    A knob states its type, its legal values, its default search range and its default, in one line:

        keep: Annotated[float, Field(gt=0, lt=1), Range(0.25, 0.75)] = 0.5
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]
    family: ClassVar[str]
    stage: ClassVar[Stage]
    listed: ClassVar[bool] = True  # in the catalogue; else a variety of another method, for another use
    pending: ClassVar[bool] = False  # leaves losses or schedules that only a later `finetune` carries out
    fitted: ClassVar[bool] = (
        False  # what it leaves pending is fitted to shapes, which may not change until that training
    )
    trains: ClassVar[bool] = False  # takes steps on the training texts, and carries out what was pending
    values_only: ClassVar[bool] = False  # changes what weights hold, never a shape, a byte count or a latency
    estimated: ClassVar[bool] = False  # a rehearsal only guesses the shapes: what is cut is found out in the real run
    uses_corpus: ClassVar[bool] = False  # the shapes it leaves depend on what the training texts are made of
    uses_target: ClassVar[bool] = False  # its training depends on where the model will run: so does its prefix's key
    pays: ClassVar[tuple[Gain, ...]]  # what it is for
    revision: ClassVar[int] = 1  # goes up with what it does: equal knobs would give another model

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        if not cls.listed:
            return
        *_, family, cls.name = cls.__module__.split(".")
        cls.family = cls.__dict__.get("family", family)
        if cls.name in _METHODS:
            raise TypeError(f"two methods are called {cls.name!r}: {_METHODS[cls.name]} and {cls}")
        _METHODS[cls.name] = cls

    @model_serializer(mode="wrap")
    def _without_later(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dump: dict[str, Any] = written(self)
        return {knob: value for knob, value in dump.items() if not type(self).is_unsaid(knob, value)}

    @classmethod
    def is_unsaid(cls, knob: str, value: Any) -> bool:
        """Whether a knob is not written where it has this value: see `Later`."""
        return is_unsaid(cls.model_fields[knob], value)

    def apply(self, model: nn.Module, ctx: Context) -> nn.Module:
        """Return the changed model. Raise `NotApplicable` rather than return it unchanged."""
        raise NotImplementedError

    def by_shape(self) -> Method:
        """One that leads to the same shapes and reads no texts for it: itself, or the same with another knob."""
        return self

    def checkpoints(self) -> tuple[str, ...]:
        """Models besides the one to compress that it reads, as they are named in a recipe."""
        return ()

    def training_steps(self, texts: int) -> int:
        """How many steps it takes on so many training texts."""
        return 0

    @property
    def waits(self) -> bool:
        """Whether it does nothing unless a training follows."""
        return self.pending

    @property
    def uses_unlabelled(self) -> bool:
        """Whether it reads the texts of the task that have no labels."""
        return False

    @property
    def text_factor(self) -> int:
        """How many times as many texts the next training reads."""
        return 1

    @classmethod
    def for_teacher(cls, knobs: dict[str, Any]) -> Method:
        """The same where it makes the teacher. `knobs`: those that are given."""
        return cls(**knobs)

    @classmethod
    def knobs(cls) -> dict[str, Distribution]:
        """What each knob is when a search space does not mention it: its own range, or its default."""
        return {
            name: next((m for m in field.metadata if isinstance(m, Range | Choice)), Fixed(field.default))
            for name, field in cls.model_fields.items()
        }

    @classmethod
    def neutral(cls) -> dict[str, float | str]:
        """What each knob reads as in a recipe without this method: declared as `Neutral`, else 0 or `none`."""
        return {name: _neutral(field) for name, field in cls.model_fields.items()}

    @classmethod
    def holds_list(cls, knob: str) -> bool:
        """Whether a list is one value of this knob, which is never searched over then."""
        return isinstance(cls.model_fields[knob].default, tuple)

    @classmethod
    def check(cls, knob: str, value: Any) -> Any:
        """Return `value` as this knob would hold it. Raise `ConfigError` if it may not."""
        try:
            return TypeAdapter(cls.model_fields[knob].rebuild_annotation()).validate_python(value)
        except ValidationError as e:
            rule = e.errors()[0]["msg"].removeprefix("Input ").replace("a valid tuple", "a list")
            raise ConfigError(f"{cls.name}.{knob} {rule}. Got {value!r}.") from None


def _neutral(field: FieldInfo) -> float | str:
    for mark in field.metadata:
        if isinstance(mark, Neutral):
            return mark.value
    if isinstance(field.default, int | float) and not isinstance(field.default, bool):
        return 0
    return "none"


def methods() -> dict[str, type[Method]]:
    """Every method there is, by name. The folder `methods/` is the registry, and folders that spaces name."""
    _load_catalogue()
    return dict(sorted(_METHODS.items()))


def find(name: str) -> type[Method]:
    """Look a method up by the name that a YAML file uses."""
    _load_catalogue()
    if name not in _METHODS:
        raise ConfigError(f"there is no method {name!r}. {nearest(name, methods(), otherwise='Methods')}")
    return _METHODS[name]


@cache
def _load_catalogue() -> None:
    from autocompress import methods as package

    for module in _walk(package.__path__, package.__name__ + "."):
        importlib.import_module(module)


def _walk(path: Any, prefix: str) -> Iterator[str]:
    return (m.name for m in pkgutil.walk_packages(path, prefix) if not m.ispkg)
