"""Which files may lie in an exported folder: by their kind, their name, their first bytes and their size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from autocompress.errors import ConfigError

_PICKLES = {".bin", ".ckpt", ".dill", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pt2", ".pth"}
_CODE = {".dll", ".dylib", ".ipynb", ".py", ".pyc", ".pyd", ".pyx", ".sh", ".so"}
_MAGIC = {  # first bytes -> what a file is, whatever its name says
    b"PK\x03\x04": "a zip archive, in which PyTorch keeps pickles",
    b"\x93NUMPY": "a NumPy array, which may hold a pickle",
    b"\x1f\x8b": "a gzip archive", b"\x7fELF": "a program", b"MZ": "a program",
    **{bytes([0x80, version]): "a pickle" for version in range(1, 6)},
}  # fmt: skip
_SIZED = {".json": 16, ".yaml": 1, ".xml": 16, ".onnx": 2_000, ".safetensors": 8_000, ".bin": 8_000}  # megabytes
_TOKENIZER = 128  # megabytes: the largest vocabulary there is takes 33
_MOST = 1000  # files


def check(folder: Path) -> None:
    """Raise `ConfigError` for the first file that may not be here."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: an exported model should be a folder. There is none.")
    for count, entry in enumerate(_entries(folder)):
        where = f"{folder}: {os.path.relpath(entry.path, folder)}"
        if count == _MOST:
            raise ConfigError(f"{folder}: an exported model should have at most {_MOST} files. Got more.")
        if entry.is_symlink():
            raise ConfigError(
                f"{where} should be a file of its own. Got a link to {os.readlink(entry.path)!r}. Copy the file."
            )
        if not entry.is_dir():
            _check_file(where, entry)


def _entries(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """Everything below `folder`, by name. No link is followed."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(entry.path)


def _check_file(where: str, entry: os.DirEntry[str]) -> None:
    suffix = Path(entry.name).suffix.lower()
    if not entry.is_file():  # to read from a pipe would wait for ever
        raise ConfigError(f"{where} should be a plain file. Got a pipe, a socket or a device. Remove it.")
    raw = _is_raw(Path(entry.path))
    if suffix in _PICKLES and not raw:
        raise ConfigError(f"{where} should not be here: {suffix} files hold pickles, which run code. Remove it.")
    if suffix in _CODE:
        raise ConfigError(f"{where} should not be here: an exported model brings no code. Remove it.")
    size, most = entry.stat().st_size, _TOKENIZER if entry.name == "tokenizer.json" else _SIZED.get(suffix)
    if most and size > most * 1e6:
        raise ConfigError(f"{where} should have at most {most} MB. Got {size / 1e6:.0f} MB. Export the model again.")
    if raw:
        return
    with open(entry.path, "rb") as file:
        start = file.read(8)
    for magic, what in _MAGIC.items():
        if start.startswith(magic):
            raise ConfigError(f"{where} should hold what its name says. Got {what}. Remove it.")


def _is_raw(path: Path) -> bool:
    """Whether a file may begin with any bytes: with the length of safetensors' header, or with OpenVINO's weights."""
    return path.suffix.lower() == ".safetensors" or (path.name == "model.bin" and path.with_suffix(".xml").is_file())
