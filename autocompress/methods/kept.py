"""Models that a method makes besides the one it changes: made once, and kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from autocompress.machine import cache
from autocompress.methods.context import Context, Course
from autocompress.models import storage
from autocompress.space import keys
from autocompress.space.method import Method


def kept_model(ctx: Context, method: Method, make: Callable[[Course], nn.Module]) -> nn.Module:
    """What `make` gives, from the cache where the model that the method acts on has a key.

    It is given the course that its training is to follow, by which it is put aside as the recipe's own.
    """
    if not ctx.prefix:
        return make(ctx.course.beside(""))
    key = keys.companion(ctx.prefix, method)

    def build(folder: Path) -> None:
        storage.save(make(ctx.course.beside(key)), folder)

    return storage.load(cache.folder("companions", key, build))
