"""A folder from a stranger can at worst give wrong answers. `inspect` looks at it before anything in it is opened.

Loading reads safetensors, JSON, ONNX, OpenVINO's graphs and vocabularies only, and nothing else may lie beside them
that another program would run: no pickles, no Python, no links, no remote code. What a file claims must agree with its
bytes, so that a small folder cannot ask for much memory or time.
"""

from __future__ import annotations

from pathlib import Path

from autocompress.safety import claims, files, onnx, openvino, settings

__all__ = ["inspect"]


def inspect(folder: Path) -> None:
    """Raise `ConfigError` with the first rule that the folder breaks."""
    files.check(folder)
    settings.check(folder)
    claims.check(folder)
    for artefact in sorted(folder.glob("*.onnx")):
        onnx.check(artefact)
    for artefact in sorted(folder.rglob("*.xml")):
        openvino.check(artefact, f"{folder}: {artefact.relative_to(folder)}")
