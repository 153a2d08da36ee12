"""What the files say of their sizes must agree with their bytes, before anything is built from what they say."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from autocompress.errors import ConfigError, short
from autocompress.serving.safety import settings
from autocompress.space.settings import find_task_kind, task_kinds
from autocompress.tasks.kind import has_head

Shapes = dict[str, list[int]]

_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
_LARGEST_HEADER = 16_000_000
_MODULES = re.compile(r"(?<!window_)layers?$|blocks?$|block_sizes$|experts$|depth$|n_layer")  # they count modules
_LARGEST_NUMBER = 2**20  # what a setting that is no dimension may be: a position, a window
_LABELS, _MOST_LABELS = {"num_labels", "id2label", "label2id"}, 2**16
_POSITIONS = re.compile(r"(position_embeddings|embed_positions|\bwpe)\.weight$")
_DIMENSIONS = ("in", "out", "rank", "rows", "width")


def check(folder: Path) -> None:
    """Raise `ConfigError` if the JSON files claim more than model.safetensors holds."""
    shapes = weights(folder)
    _check_config(*_read(folder, "config.json"), shapes)
    _check_positions(*_read(folder, "serving.json"), shapes)
    where, structure = _read(folder, "structure.json")
    changed = structure.get("modules") if isinstance(structure, dict) else None
    for path, entry in (changed if isinstance(changed, dict) else {}).items():
        _check_entry(where, path, entry, shapes)


def weights(folder: Path) -> Shapes:
    """The shapes that the header of model.safetensors claims, each of which fits its bytes."""
    file = folder / "model.safetensors"
    where, size = f"{folder}: model.safetensors", file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 2 <= length <= min(size - 8, _LARGEST_HEADER):
            raise _wrong(where, f"a header of {length} bytes in a file of {size}")
        try:
            header: dict[str, Any] = settings.parse(opened.read(length), where)
            header.pop("__metadata__", None)
            taken = {name: _extent(where, name, tensor) for name, tensor in header.items()}
        except ConfigError:  # which is a ValueError
            raise
        except (AttributeError, TypeError, KeyError):
            raise _wrong(where, "something else") from None
    at = 0
    for begin, end in sorted(taken.values()):
        if begin != at:
            raise _wrong(where, f"tensors with a gap or an overlap at byte {at}")
        at = end
    if at != size - 8 - length:
        raise _wrong(where, f"tensors of {at} bytes in a file with {size - 8 - length}")
    return {name: tensor["shape"] for name, tensor in header.items()}


def _extent(where: str, name: str, tensor: dict[str, Any]) -> tuple[int, int]:
    """From which byte to which a tensor claims to lie."""
    begin, end = tensor["data_offsets"]
    shape, each = tensor["shape"], _BYTES[tensor["dtype"]]
    if not all(type(n) is int and n >= 0 for n in (begin, end)) or not all(type(n) is int and n > 0 for n in shape):
        raise TypeError
    if math.prod(shape) * each != end - begin:
        raise _wrong(where, f"{name} of {tensor['dtype']} {shape} in {end - begin} bytes")
    return begin, end


def _check_config(where: str, config: Any, shapes: Shapes) -> None:
    """Every number at most the largest dimension of a weight; no more layers than tensors; a known kind of model."""
    made_for = config.get("architectures") if isinstance(config, dict) else None
    named = made_for[0] if isinstance(made_for, list) and made_for else None
    if not any(has_head(str(named), find_task_kind(kind).head) for kind in task_kinds()):
        raise ConfigError(f"{where}: architectures should name a text classifier of transformers. Got {short(named)}.")
    largest = max([_LARGEST_NUMBER, *(n for shape in shapes.values() for n in shape)])
    for key, value in settings.every(config):
        most = len(shapes) if _MODULES.search(key) else _MOST_LABELS if key in _LABELS else largest
        count = len(value) if isinstance(value, dict) else value
        if isinstance(count, int) and count > most:
            raise ConfigError(f"{where}: {key} should fit the weights, at most {most}. Got {str(count)[:20]}.")


def _check_positions(where: str, serving: Any, shapes: Shapes) -> None:
    """No text longer than the table of learnt positions, where the model has one."""
    task = serving.get("task") if isinstance(serving, dict) else None
    asked = task.get("max_length") if isinstance(task, dict) else None
    for name, shape in shapes.items():
        if _POSITIONS.search(name) and isinstance(asked, int) and asked > shape[0]:
            raise ConfigError(f"{where}: task.max_length should be at most {shape[0]}, as {name} has it. Got {asked}.")


def _check_entry(where: str, path: str, entry: Any, shapes: Shapes) -> None:
    """A changed module's dimensions are those of the tensors it is filled from."""
    held = {n for name, shape in shapes.items() if name.startswith(f"{path}.") for n in shape}
    for key in _DIMENSIONS:
        claimed = entry.get(key) if isinstance(entry, dict) else None
        if isinstance(claimed, int) and claimed not in held:
            sizes = short(sorted(held))
            raise ConfigError(
                f"{where}: {path[:99]}.{key} should be a dimension of its weights, one of {sizes}. Got {claimed}."
            )


def _read(folder: Path, name: str) -> tuple[str, Any]:
    where = f"{folder}: {name}"
    return where, settings.read(folder / name, where)


def _wrong(where: str, got: str) -> ConfigError:
    return ConfigError(f"{where} should hold tensors that fill its bytes. Got {got}. Export the model again.")
