"""Models of our own that are no Transformers: classes, a file a kind, in the interface of transformers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@cache
def know_configs() -> None:
    """Let transformers read config.json of these models. That loads no model, which would take seconds."""
    from transformers import AutoConfig

    from autocompress.models.students.lstm_config import LstmConfig

    AutoConfig.register(LstmConfig.model_type, LstmConfig)


@cache
def students() -> dict[str, type[PreTrainedModel]]:
    """The classes by name. The first call makes them known to transformers, their configs too."""
    from transformers import AutoModelForSequenceClassification

    from autocompress.models.students.lstm import LstmForSequenceClassification as Lstm

    know_configs()
    AutoModelForSequenceClassification.register(Lstm.config_class, Lstm)
    return {found.__name__: found for found in (Lstm,)}
