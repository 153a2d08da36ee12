"""Models of our own that are no Transformers: classes, a file a kind, in the interface of transformers."""

from __future__ import annotations

import importlib
from functools import cache
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autocompress.models.students.text_student import TextStudent


@cache
def students() -> dict[str, type[TextStudent]]:
    """The classes by name. The first call makes them known to transformers, which then reads their config.json."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    found = list(by_shape().values())
    for model in found:
        AutoConfig.register(model.config_class.model_type, model.config_class)
        AutoModelForSequenceClassification.register(model.config_class, model)
    return {model.__name__: model for model in found}


@cache
def by_shape() -> dict[str, type[TextStudent]]:
    """The classes by what recipes call them."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    models: list[type[TextStudent]] = [module.MODEL for module in modules if hasattr(module, "MODEL")]
    return {model.shape: model for model in models}
