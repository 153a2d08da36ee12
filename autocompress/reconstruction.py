"""Build an exported folder's module only after its shapes were found to be those of its weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from autocompress import structure
from autocompress.errors import ConfigError
from autocompress.safety.claims import weights


def load(folder: Path) -> nn.Module:
    """The module, in eval mode. Raises `ConfigError` if its files do not fit each other."""
    check(folder)
    return structure.load(folder)


def check(folder: Path) -> None:
    """Build on the meta device, which takes no memory whatever the sizes, and compare with the weights' header."""
    held = weights(folder)
    try:
        config = structure.read_config(folder)
        with torch.device("meta"):
            built = structure.build(config, json.loads((folder / "structure.json").read_text()))
    except ConfigError as e:
        raise ConfigError(f"{folder}: {e}") from None
    except Exception as e:  # sizes that make no sense raise whatever the model's own code happens to raise
        said = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
        raise ConfigError(f"{folder}: config.json should describe a model that can be built. Got: {said}") from e
    asked = {name: list(tensor.shape) for name, tensor in built.state_dict().items()}
    wrong = sorted(name for name in asked.keys() | held.keys() if asked.get(name) != held.get(name))
    if wrong:
        raise ConfigError(
            f"{folder}: model.safetensors should fit config.json and structure.json. Got {wrong[0]} of "
            f"{held.get(wrong[0], 'no')} where they ask for {asked.get(wrong[0], 'none')}. Export the model again."
        )
