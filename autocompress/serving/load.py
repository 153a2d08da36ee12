"""Build an exported folder's module only after its shapes were found to be those of its weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident

import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from autocompress.errors import ConfigError
from autocompress.models import storage
from autocompress.serving.safety.claims import weights

_MOST_BUFFERS = 2**28  # bytes: masks and tables of positions, which are no weights


def load(folder: Path) -> nn.Module:
    """The module, in eval mode. Raises `ConfigError` if its files do not fit each other."""
    check(folder)
    return storage.load(folder)


def check(folder: Path) -> None:
    """Build on the meta device, which takes no memory whatever the sizes, and compare with the weights' header."""
    held = weights(folder)
    try:
        config = storage.read_config(folder)
        with torch.device("meta"), _at_most(100 + 10 * len(held)):
            built = storage.build(config, json.loads((folder / "structure.json").read_text()))
    except ConfigError as e:
        raise ConfigError(f"{folder}: {e}") from None
    except Exception as e:  # sizes that make no sense raise whatever the model's own code happens to raise
        said = " ".join(str(e).split())[:200] or type(e).__name__
        raise ConfigError(f"{folder}: config.json should describe a model that can be built. Got: {said}") from e
    taken = sum(buffer.numel() * buffer.element_size() for buffer in built.buffers())
    if taken > _MOST_BUFFERS:
        raise ConfigError(f"{folder}: config.json should ask for at most {_MOST_BUFFERS} bytes of tables. Got {taken}.")
    first = storage.tied(built)  # a parameter of several names is stored under the first
    shapes = {name: list(tensor.shape) for name, tensor in built.state_dict().items()}
    asked = {name: shape for name, shape in shapes.items() if first.get(name, name) == name}
    wrong = sorted(name for name in asked.keys() | held.keys() if asked.get(name) != held.get(name))
    if wrong:
        raise ConfigError(
            f"{folder}: model.safetensors should fit config.json and structure.json. Got {wrong[0]} of "
            f"{held.get(wrong[0], 'no')} where they ask for {asked.get(wrong[0], 'none')}. Export the model again."
        )


@contextmanager
def _at_most(modules: int) -> Iterator[None]:
    """Stop this thread when it makes more: some setting of some model family counts them, and each takes time."""
    made, thread = 0, get_ident()

    def count(*_: object) -> None:
        nonlocal made
        made += get_ident() == thread
        if made > modules:
            raise ConfigError(f"config.json should ask for modules that the weights fill, at most {modules}. Got more.")

    hook = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
