"""The plain parts of a search space: task, target, teacher and search settings. Pure data, no torch."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from autocompress.space.distributions import Later, is_unsaid


class Settings(BaseModel):
    """Frozen, and unknown keys are refused. What stands below a field says what it holds: editors and docs show it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @model_serializer(mode="wrap")
    def _without_later(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dump: dict[str, Any] = written(self)
        return {name: value for name, value in dump.items() if not is_unsaid(type(self).model_fields[name], value)}


_MOST_TOKENS = 2**18  # a batch of 512 texts of 512 tokens
Split = Literal["train", "validation", "test"]
Count = Annotated[int, Field(ge=1, strict=True)]  # strict: neither `true` nor `"4"` is a number


def _columns(value: Any) -> Any:
    """One name, or two: what a text column is called, or both of a pair."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or len(names) not in (1, 2) or not all(isinstance(n, str) for n in names):
        raise ValueError("should be a column's name, or two for pairs of texts")
    return tuple(names)


def _source(value: Any) -> Any:
    """One name, or files by split. Said here in one sentence, where a union would say three."""
    if isinstance(value, dict):
        named = set(value) <= set(get_args(Split)) and all(isinstance(file, str) for file in value.values())
        if not named or "train" not in value:
            raise ValueError(
                "should name files by split, train at least: {train: a.csv, validation: b.csv, test: c.csv}"
            )
    elif not isinstance(value, str) or not value:
        raise ValueError("should be a data set's name, or files by split: {train: a.csv, validation: b.csv}")
    return value


def task_kinds() -> list[str]:
    """The names of the files in tasks/kinds/, none of which is imported."""
    found = find_spec("autocompress.tasks.kinds")
    assert found
    return sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(found.submodule_search_locations))


def find_task_kind(name: str) -> Any:
    """The class of a kind: this folder comes before that one, so it is found by its name, when it is asked."""
    return importlib.import_module("autocompress.tasks.kinds").find(name)


def _metrics() -> list[str]:
    return list(dict.fromkeys(metric for kind in task_kinds() for metric in find_task_kind(kind).metrics))


def _one_of(name: object, known: Sequence[str]) -> str:
    if name not in known:
        listed = ", ".join(map(repr, known))
        raise PydanticCustomError("literal_error", "should be one of {expected}", {"expected": listed})
    return str(name)


class TaskSettings(Settings):
    """Where the texts and labels come from, and how a model is scored on them."""

    kind: Annotated[str, Field(json_schema_extra=lambda schema: schema.update(enum=task_kinds()))] = (
        "text-classification"
    )
    """What is asked: one label a text, a label for every word, or which token comes next (of texts without labels)."""
    data: Annotated[str | dict[Split, str], BeforeValidator(_source)]
    """A hub data set (`glue/sst2`), files by split (`{train: a.csv, validation: b.csv, test: c.csv}`: csv, tsv, json,
    jsonl, parquet, in UTF-8), a folder saved by `datasets`, `builtin/docstrings`, or
    `builtin/descriptions` (pairs)."""
    unlabelled: Annotated[str, Later()] = ""
    """A file of texts without labels, in the same columns. `transfer_set: {augmentation: unlabelled}` trains on what
    the teacher says of them."""
    text: Annotated[tuple[str, ...], BeforeValidator(_columns)] = ("text",)
    """The column of texts; `[premise, hypothesis]` for pairs. For labels of words the column of words: lists, or text
    with blanks between them."""
    label: Annotated[
        str, Field(validate_default=True, json_schema_extra=lambda schema: schema.update(default="label"))
    ] = ""
    """The column of labels, words or whole numbers; blanks around them are taken off. For labels of words as many as
    there are words. Texts that are continued have none: there the key is refused."""
    max_length: Annotated[int, Field(ge=8, le=8192, strict=True)] = 128
    """Tokens of a text; longer ones are cut. At most what the model reads."""
    limit: dict[Split, Count] = {}
    """No more texts of a split than these, in their true shares of labels: `{train: 2000, validation: 500}`."""
    metric: Annotated[
        str, Field(validate_default=True, json_schema_extra=lambda schema: schema.update(enum=_metrics()))
    ] = ""
    """What `score` is. Of texts `accuracy`, `macro_f1` or `mcc`; of words `entity_f1` (whole entities, as conlleval
    counts them) or `accuracy`; of next tokens `likelihood` (1 / perplexity) or `accuracy`."""

    @field_validator("kind")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return _one_of(name, task_kinds())

    @field_validator("label", mode="before")
    @classmethod
    def _where_there_are_labels(cls, name: object, info: ValidationInfo) -> object:
        """The column of a kind that has one: `label`, if none is given."""
        kind = info.data.get("kind")
        if kind is None or find_task_kind(kind).labelled:
            return "label" if name == "" else name
        if name != "":
            raise ValueError(f"should be left out, for {kind} has no labels: a text's own tokens are what is asked")
        return name

    @field_validator("metric", mode="before")
    @classmethod
    def _of_the_kind(cls, name: object, info: ValidationInfo) -> object:
        """The usual one of its kind, if none is given."""
        if "kind" not in info.data:
            return name
        known = find_task_kind(info.data["kind"]).metrics
        return _one_of(name, known) if name else known[0]


class Target(Settings):
    """Where the model will run. Latency is that of one batch of `batch_size` texts of `sequence_length` tokens."""

    runtime: Literal["torch", "onnxruntime", "openvino"] = "onnxruntime"
    """What opens the model file and runs it. `openvino` takes `pip install 'autocompress[openvino]'`."""
    compile: Annotated[bool, Field(strict=True)] = False
    """Of the torch runtime only: `torch.compile` turns the module into code of its own, on its first batches. On a CPU
    that takes a C++ compiler."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the model is measured."""
    threads: Annotated[int, Field(ge=1, le=1024, strict=True)] = 1
    """CPU threads that the model runs on."""
    batch_size: Annotated[int, Field(ge=1, le=4096, strict=True)] = 1
    """Texts of one call."""
    sequence_length: Annotated[int, Field(ge=4, le=131_072, strict=True)] = 64
    """Tokens of a text when latency is measured. Its product with `batch_size` is at most 262,144."""

    @field_validator("sequence_length")
    @classmethod
    def _fits(cls, length: int, info: ValidationInfo) -> int:
        size = info.data.get("batch_size", 1)
        if size * length > _MOST_TOKENS:
            raise ValueError(f"should be at most {_MOST_TOKENS // size} with batches of {size}")
        return length

    @field_validator("compile")
    @classmethod
    def _by_torch(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("runtime", "torch") != "torch":
            raise ValueError("is for the torch runtime: leave it out, or write runtime: torch")
        return value

    @property
    def runs_in(self) -> str:
        """The runtime in words."""
        return f"compiled {self.runtime}" if self.compile else self.runtime


class Confirm(Settings):
    """How many of the front's best are trained again, and with how many seeds."""

    top: Annotated[int, Field(ge=0, strict=True)] = 3
    """The front's first so many, by the rule; 0: none."""
    seeds: Annotated[int, Field(ge=2, strict=True)] = 3
    """Seeds that each is trained with in all, the search's own included."""


class SearchSettings(Settings):
    """How much is tried, and how."""

    trials: Count = 40
    """Recipes that begin training, over every resume. What is refused before that is not counted."""
    seed: Annotated[int, Field(ge=0, lt=2**31, strict=True)] = 0
    """Decides data splits, samples and training."""
    sampler: Literal["tpe", "nsgaii", "gp", "random", "grid"] = "tpe"
    """Who proposes recipes. `tpe` learns from refused ones too; `grid` goes through a space that has an end, each
    recipe once."""
    built_in_anchors: Annotated[bool, Field(strict=True)] = True
    """Whether the combinations that usually pay, and each method alone, are tried first, right after your anchors."""
    rungs: Literal["auto", "stop", "watch", "none"] = "auto"
    """What happens at a ninth and a third of a trial's training. `stop`: it is scored, and stopped if what it is
    forecast to score loses to a finished trial; `watch`: it is scored only; `auto`: `stop` in searches of 20 trials
    and more."""
    variants: Annotated[int, Field(ge=0, strict=True)] = 32
    """How many more recipes, at most, are evaluated from one training: those that differ only in what follows it. They
    are not counted as trials."""
    variant_time: Annotated[float, Field(ge=0), Later()] = 0.5
    """The share of a training's seconds that its variants may take together. The first of them always may."""
    training_precision: Annotated[Literal["auto", "float32", "bfloat16"], Later()] = "auto"
    """What products are computed in while a model is trained. `auto`: in bfloat16, if this machine has instructions for
    it and a step takes less than 0.9 of its time in float32; weights, gradients and the optimizer are float32."""
    predict: Annotated[bool, Field(strict=True), Later()] = True
    """Whether size and latency are predicted from what was measured before, and a recipe that surely breaks a limit, or
    surely keeps all, is not lowered and timed before its training."""
    rule: Literal["knee", "best_score", "fastest", "smallest"] = "knee"
    """Which of the front is chosen in the end."""
    confirm: Confirm = Confirm()
    """How finalists are confirmed: the front's first `top` by the rule are measured again in a process of their own and
    trained with `seeds` seeds in all, and the rule chooses by these latencies and by the means of the scores. If none
    of them keeps every limit by these, the next of the front is confirmed. `{top: 0}`: none is."""
