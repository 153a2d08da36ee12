"""A folder from a stranger can at worst give wrong answers. `inspect` looks at it before anything in it is opened.

Loading reads safetensors, JSON, vocabularies and the runtime's own file only, and nothing else may lie beside them that
another program would run: no pickles, no Python, no links, no remote code. What a file claims must agree with its
bytes, so that a small folder cannot ask for much memory or time.
"""

from __future__ import annotations

from pathlib import Path

from autocompress.errors import ConfigError
from autocompress.runtimes.onnx import safety as onnx
from autocompress.runtimes.openvino import safety as openvino
from autocompress.serving.safety import claims, files, settings, tokenizer

__all__ = ["inspect"]

_NEEDED = ("config.json", "model.safetensors", "structure.json", "tokenizer.json", "tokenizer_config.json")


def inspect(folder: Path) -> None:
    """Raise `ConfigError` with the first rule that the folder breaks."""
    try:
        found = files.check(folder)
        if missing := [name for name in _NEEDED if folder / name not in found]:
            raise ConfigError(f"{folder}: {missing[0]} is missing. Export the model again.")
        for file in found:
            where = f"{folder}: {files.named(str(file.relative_to(folder)))}"
            if file.name == "tokenizer.json":
                tokenizer.check(file, where)
            elif file.suffix.lower() == ".json":
                settings.check(file, where)
            elif file.suffix.lower() == ".onnx":
                onnx.check(file, where)
            elif file.suffix.lower() == ".xml":
                openvino.check(file, where)
        claims.check(folder)
    except OSError as e:
        raise ConfigError(f"{folder}: every file should be readable. Got: {e.strerror}. Export it again.") from None
