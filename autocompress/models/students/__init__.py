"""Models of our own that are no Transformers: classes, a file a kind, in the interface of transformers."""

from __future__ import annotations

import importlib
from functools import cache
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autocompress.models.students.text_student import TextStudent


@cache
def know_configs() -> None:
    """Let transformers read config.json of these models. That loads no model, which would take seconds."""
    from transformers import AutoConfig

    from autocompress.models.students.configs import CONFIGS

    for config in CONFIGS:
        AutoConfig.register(config.model_type, config)


@cache
def students() -> dict[str, type[TextStudent]]:
    """The classes by name. The first call makes them known to transformers, their configs too."""
    from transformers import AutoModelForSequenceClassification

    know_configs()
    for model in by_shape().values():
        AutoModelForSequenceClassification.register(model.config_class, model)
    return {model.__name__: model for model in by_shape().values()}


@cache
def by_shape() -> dict[str, type[TextStudent]]:
    """The classes by what recipes call them."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    models: list[type[TextStudent]] = [module.MODEL for module in modules if hasattr(module, "MODEL")]
    return {model.shape: model for model in models}
