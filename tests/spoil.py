"""Ways to spoil one thing in a sound exported folder. Each gives a function that does it to a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

STORED = Path(__file__).parent / "stored" / "format-1"
Spoil = Callable[[Path], object]


def written(name: str, content: bytes) -> Spoil:
    """A file with this content, also in a subfolder."""

    def spoil(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    return spoil


def changed(file: str, part: str | None = None, **changes: Any) -> Spoil:
    """Other values in a JSON file, or in one of its objects."""

    def spoil(folder: Path) -> None:
        found = json.loads((folder / file).read_text())
        (found if part is None else found[part]).update(changes)
        (folder / file).write_text(json.dumps(found))

    return spoil


def added(file: str, text: str) -> Spoil:
    """More text at the start of a JSON file's object."""

    def spoil(folder: Path) -> None:
        (folder / file).write_text((folder / file).read_text().replace("{", "{" + text, 1))

    return spoil


def header(**changes: Any) -> Spoil:
    """Other claims about the tensor `classifier.bias`, the bytes as they were."""

    def spoil(folder: Path) -> None:
        raw = (folder / "model.safetensors").read_bytes()
        length = int.from_bytes(raw[:8], "little")
        claims = json.loads(raw[8 : 8 + length])
        claims["classifier.bias"] |= changes
        new = json.dumps(claims).encode()
        (folder / "model.safetensors").write_bytes(len(new).to_bytes(8, "little") + new + raw[8 + length :])

    return spoil


def large(name: str, size: int) -> Spoil:
    """A file that claims more bytes than the disk holds of it."""

    def spoil(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.truncate(size)

    return spoil


def graph(change: Callable[[onnx.ModelProto], object]) -> Spoil:
    """Another ONNX model."""

    def spoil(folder: Path) -> None:
        model = onnx.load(folder / "model.onnx")
        change(model)
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    return spoil


def linked(name: str, to: str) -> Spoil:
    """A link in the place of a file."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to)

    return spoil
