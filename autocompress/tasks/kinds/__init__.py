"""The kinds of tasks, one file each: `text_classification.py` is what YAML calls text-classification."""

from __future__ import annotations

import importlib
import inspect
from functools import cache

from autocompress.space.settings import TaskSettings
from autocompress.tasks.kind import TaskKind


@cache
def find(name: str) -> type[TaskKind]:
    """The kind of this name; settings hold no other."""
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    [found] = [
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, TaskKind) and each.__module__ == module.__name__
    ]
    return found


def of(settings: TaskSettings, labels: tuple[str, ...] = ()) -> TaskKind:
    """The kind of a task."""
    return find(settings.kind)(settings, labels)


def usual() -> TaskKind:
    """The kind of a task that does not say."""
    return of(TaskSettings(data="none"))
