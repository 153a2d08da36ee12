"""What a unit of each piece usually takes: where learning begins. Only how they compare matters, and that roughly."""

from __future__ import annotations

from autocompress.trials.prediction.pieces import BYTES, CALLS, COSTLY, FLOPS, MOVED

_PRODUCTS = {FLOPS: 1 / 60e9, MOVED: 0.5e-9, BYTES: 0.3e-9, CALLS: 3e-6}  # seconds, on one core of a server
_BATCHED = {FLOPS: 1 / 40e9, MOVED: 0.5e-9, CALLS: 5e-6}
_REST = {MOVED: 0.3e-9, COSTLY: 2e-9, CALLS: 1e-6}
_INTEGER, _PACKED = 0.4, 0.7  # of a float32 product's time: with 8-bit inputs; with weights in fewer bits
_RUN = 5e-6  # seconds of any run
_FILE, _NODE = 20e3, 100.0  # bytes of any file, and of an operator in it
_PLANNED = {  # bytes of what rounds, or looks up; `kernel`: of weights whose product rounds its inputs by itself
    "token": 1400.0, "kernel": 350.0, "inputs": 600.0, "weights": 500.0, "codes": 900.0,
}  # fmt: skip


def seconds(piece: str) -> float:
    """Of a unit of that piece."""
    group, *kind, measure = piece.split()
    if group == "product":
        return _share(kind[0]) * _PRODUCTS[measure]
    if group == "whole":
        return _RUN
    return _BATCHED[measure] if group == "batched" else 1e-9 if group == "rows" else _REST[measure]


def file_bytes(piece: str, *, rounds_by_nodes: bool) -> float:
    """Of a unit of that piece, besides what tensors hold. `rounds_by_nodes`: as of a runtime."""
    group, *kind, measure = piece.split()
    if measure != CALLS:
        return 0.0
    if not kind or kind[0] == "float32":
        return _FILE if group == "whole" else _NODE
    how = _carried_out(kind[0])
    return _PLANNED["kernel" if how == "token" and not rounds_by_nodes else how]


def _carried_out(kind: str) -> str:
    if kind.endswith("token"):
        return "token"
    if "*float" not in kind and "*bfloat" not in kind:
        return "inputs"
    return "weights" if kind.startswith(("int", "float", "bfloat")) else "codes"


def _share(kind: str) -> float:
    weight, _, activation = kind.partition("*")
    if "int8" in activation:
        return _INTEGER
    return _PACKED if weight.startswith("int") else 1.0
