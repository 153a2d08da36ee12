"""The plain parts of a search space: task, target, teacher and search settings. Pure data, no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Settings(BaseModel):
    """Frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Columns = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1, max_length=2)]


class TaskSettings(Settings):
    """Where the texts and labels come from, and how a model is scored on them."""

    kind: Literal["text-classification"] = "text-classification"
    data: str | dict[Literal["train", "validation", "test"], str]
    text: Columns = ("text",)
    label: str = "label"
    max_length: Annotated[int, Field(ge=8, le=8192)] = 128
    limit: dict[Literal["train", "validation", "test"], Annotated[int, Field(ge=1)]] = {}
    metric: Literal["accuracy", "macro_f1", "mcc"] = "accuracy"


class Target(Settings):
    """Where the model will run. Latency is that of one batch of `batch_size` texts of `sequence_length` tokens."""

    runtime: Literal["torch", "onnxruntime"] = "onnxruntime"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=1)] = 1
    sequence_length: Annotated[int, Field(ge=4)] = 64


class SearchSettings(Settings):
    """How much is tried, and how."""

    trials: Annotated[int, Field(ge=1)] = 40
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    sampler: Literal["tpe", "random"] = "tpe"
