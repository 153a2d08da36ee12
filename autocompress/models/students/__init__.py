"""Models of our own that are no Transformers: classes, a file a kind, in the interface of transformers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@cache
def students() -> dict[str, type[PreTrainedModel]]:
    """The classes by name. The first call makes them known to transformers, which then reads their config.json."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from autocompress.models.students.lstm import LstmConfig, LstmForSequenceClassification

    AutoConfig.register(LstmConfig.model_type, LstmConfig)
    AutoModelForSequenceClassification.register(LstmConfig, LstmForSequenceClassification)
    return {found.__name__: found for found in (LstmForSequenceClassification,)}
