"""What an ONNX file would make a runtime open or load, read from its outline: the weights' bytes are skipped.

An ONNX file is a protobuf message. Only the fields that lead to a tensor's place or to an operator's domain are
followed (onnx.proto3), which takes milliseconds where parsing 91 MB takes 160.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from autocompress.errors import ConfigError

_FIELDS: dict[str, dict[int, str]] = {  # message -> field number -> the message or the fact that is there
    "model": {7: "graph", 8: "opset", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 9: "opset", 10: "domain", 11: "attribute"},
    "opset": {1: "domain"},
    "node": {4: "operator", 5: "attribute", 7: "domain"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "tensor": {13: "external", 14: "location"},
}
_LOOPS = {"Loop", "Scan", "SequenceMap"}  # which may turn for ever
_DOMAINS = {"", "ai.onnx", "com.microsoft"}  # whose operators are part of onnxruntime
_DEEPEST = 50  # messages within messages
_MOST_FIELDS = 500_000  # which take half a second: a model of 24 layers has 50,000
_FIXED = {1: 8, 5: 4}  # wire type -> bytes


def check(file: Path, where: str) -> None:
    """Raise `ConfigError` if a tensor lies outside the file, or an operator would need a library."""
    if not file.stat().st_size:
        raise ConfigError(f"{where} should be an ONNX model. Got an empty file. Export the model again.")
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            for fact, value in _facts(data, "model", 0, len(data), 0, iter(range(_MOST_FIELDS))):
                _check_fact(where, fact, value)
        except OverflowError:
            raise ConfigError(f"{where} should have at most {_MOST_FIELDS} fields. Got more.") from None
        except (IndexError, RecursionError):
            raise ConfigError(f"{where} should be an ONNX model. Got other bytes. Export the model again.") from None


def _check_fact(where: str, fact: str, value: bytes) -> None:
    said = value[:80].decode(errors="replace")
    if fact == "domain" and said not in _DOMAINS:
        raise ConfigError(f"{where} should use the operators of onnxruntime only. Got the domain {said!r}.")
    if fact == "operator" and said in _LOOPS:
        raise ConfigError(f"{where} should have no loops, which may turn for ever. Got the operator {said}.")
    if fact == "sparse":
        raise ConfigError(f"{where} should hold its tensors dense. Got a sparse one, which may claim any size.")
    if fact == "external" or (fact == "location" and value != b"\0"):
        raise ConfigError(f"{where} should hold its own tensors. Got one that lies in another file. Export it whole.")


def _facts(
    data: mmap.mmap, message: str, at: int, end: int, depth: int, allowed: Iterator[int]
) -> Iterator[tuple[str, bytes]]:
    """Every fact of a message and of those in it. An `IndexError` if the bytes are no such message."""
    if depth > _DEEPEST:
        raise IndexError
    while at < end:
        if next(allowed, None) is None:
            raise OverflowError
        tag, at = _varint(data, at)
        start, at = _value(data, at, tag & 7)
        if at > end:
            raise IndexError
        inner = _FIELDS[message].get(tag >> 3)
        if inner in _FIELDS:
            yield from _facts(data, inner, start, at, depth + 1, allowed)
        elif inner:
            yield inner, data[start:at]


def _value(data: mmap.mmap, at: int, kind: int) -> tuple[int, int]:
    """Where a field's value begins and ends."""
    if kind == 0:
        return at, _varint(data, at)[1]
    if kind == 2:
        length, at = _varint(data, at)
        return at, at + length
    if kind not in _FIXED:  # groups, which ONNX does not use
        raise IndexError
    return at, at + _FIXED[kind]


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """A number in base 128, and where the next thing begins."""
    number = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise IndexError
