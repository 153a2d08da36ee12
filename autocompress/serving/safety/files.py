"""Which files may lie in an exported folder: a list of kinds, each with a size and with bytes that are what it says.

A list of what may not lie there would never end. Text is text in UTF-8, which no archive, program or pickle is,
but for those of pickle's first protocol.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from autocompress.errors import ConfigError

_TEXT = {  # suffix or name -> megabytes
    ".json": 16, "tokenizer.json": 64, ".txt": 16, ".md": 4, ".yaml": 1, ".jinja": 1, ".svg": 4, ".xml": 64,
    "LICENSE": 1, "NOTICE": 1, "README": 1, ".gitattributes": 1, ".gitignore": 1,
    ".metadata": 1, ".lock": 1, "CACHEDIR.TAG": 1,  # `.cache` of a download from the hub
}  # fmt: skip
_BINARY = {".safetensors": 8000, ".onnx": 2000, "model.bin": 8000, ".model": 16, ".png": 16}
_KNOWN = {  # first bytes -> what a file is, whatever its name says
    b"PK\x03\x04": "a zip archive, in which PyTorch keeps pickles",
    b"\x80\x02": "a pickle", b"\x80\x03": "a pickle", b"\x80\x04\x95": "a pickle", b"\x80\x05\x95": "a pickle",
}  # fmt: skip
_STARTS = {".onnx": b"\x08", ".model": b"\n", ".png": b"\x89PNG"}
_PICKLES = {".bin", ".ckpt", ".dill", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pt2", ".pth"}
_PICKLED = re.compile(rb"([]()}adeltsuN0.]|[gpVSIFL][^\n]*\n)*c[\w.]+\n[\w.]+\n")  # protocol 0: then a name to import
_MOST, _MOST_TEXT = 1000, 24  # files; megabytes of text in all, but for the tokenizer's


def check(folder: Path) -> list[Path]:
    """The folder's files. Raises `ConfigError` for the first that may not be here."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: an exported model should be a folder. There is none.")
    found, texts = [], 0
    for count, entry in enumerate(_entries(folder)):
        if count == _MOST:
            raise ConfigError(f"{folder}: an exported model should have at most {_MOST} files. Got more.")
        where = f"{folder}: {named(os.path.relpath(entry.path, folder))}"
        if entry.is_symlink():
            raise ConfigError(
                f"{where} should be a file of its own. Got a link to {os.readlink(entry.path)!r}. Copy the file."
            )
        if not entry.is_dir():
            texts += _check_file(where, entry)
            found.append(Path(entry.path))
        if texts > _MOST_TEXT * 1e6:
            raise ConfigError(f"{folder}: its notes and settings should have at most {_MOST_TEXT} MB. Got more.")
    return found


def named(name: str) -> str:
    """A file's name as it can be shown: neither line breaks nor colours of the terminal."""
    return name if name.isprintable() else ascii(name)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Everything below `folder`, the files of one folder by name. No link is followed."""
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as found:
            entries = sorted(islice(found, _MOST + 1), key=lambda entry: entry.name)
        yield from entries
        waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def _check_file(where: str, entry: os.DirEntry[str]) -> int:
    """How many bytes of text it holds, the tokenizer's apart."""
    if not entry.is_file():  # to read from a pipe would wait for ever
        raise ConfigError(f"{where} should be a plain file. Got a pipe, a socket or a device. Remove it.")
    kind, size = _kind(Path(entry.path)), entry.stat().st_size
    most = (_TEXT | _BINARY).get(kind)
    if most is None and kind in _PICKLES:
        raise ConfigError(f"{where} should not be here: {kind} files hold pickles, which run code. Remove it.")
    if most is None:
        raise ConfigError(f"{where} should not be here: an exported model brings no code and no archives. Remove it.")
    if size > most * 1e6:
        raise ConfigError(f"{where} should have at most {most} MB. Got {size / 1e6:.0f} MB. Export the model again.")
    if unlike := _unlike(kind, Path(entry.path)):
        raise ConfigError(f"{where} should hold what its name says. Got {unlike}. Remove it.")
    return size if kind in _TEXT and kind != "tokenizer.json" else 0


def _kind(file: Path) -> str:
    """Its whole name where that says more than its suffix. Only OpenVINO's .bin is no pickle: a .xml tells it."""
    if file.name == "model.bin":
        return file.name if file.with_suffix(".xml").is_file() else ".bin"
    return file.name if file.name in _TEXT else file.suffix.lower()


def _unlike(kind: str, file: Path) -> str:
    """What a file holds instead of what its name says. A runtime checks the rest of what is no text."""
    with file.open("rb") as opened:
        content = opened.read(-1 if kind in _TEXT else 8)
    if kind not in (".safetensors", "model.bin"):  # they begin with a length or with weights, which may be any bytes
        for start, what in _KNOWN.items():
            if content.startswith(start):
                return what
    if kind in _BINARY:
        return "" if content.startswith(_STARTS.get(kind, b"")) else "other bytes"
    if content.endswith(b".") and _PICKLED.match(content, 0, 10_000):
        return "a pickle"
    try:
        return "other bytes than text" if "\0" in content.decode() else ""
    except UnicodeDecodeError:
        return "other bytes than text in UTF-8"
