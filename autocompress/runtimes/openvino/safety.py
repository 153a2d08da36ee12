"""What an OpenVINO model would make a runtime load: operators of its own sets only, and weights that lie in its file.

`model.xml` is the graph. Each constant in it names the place of its bytes in `model.bin`, which holds nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from autocompress.errors import ConfigError

_BITS = {
    "u4": 4, "i4": 4, "boolean": 8, "u8": 8, "i8": 8, "u16": 16, "i16": 16, "f16": 16, "bf16": 16,
    "u32": 32, "i32": 32, "f32": 32, "u64": 64, "i64": 64, "f64": 64,
}  # fmt: skip
_OPERATORS = re.compile(r"opset\d+")  # else they come from a library of somebody's


def check(file: Path, where: str) -> None:
    """Raise `ConfigError` if the graph `file` would need a library, or bytes that its weights do not have."""
    weights = file.with_suffix(".bin")
    size = weights.stat().st_size if weights.is_file() else 0
    if b"<!" in file.read_bytes():  # a document type: entities, which may grow without end or name files
        raise ConfigError(f"{where} should hold a graph only. Got a declaration. Export the model again.")
    try:
        for layer in _layers(file):
            _check_layer(where, layer, size)
    except (ElementTree.ParseError, KeyError, ValueError, RecursionError) as e:
        if isinstance(e, ConfigError):
            raise
        raise ConfigError(f"{where} should be an OpenVINO model. Got other text. Export the model again.") from None


def _layers(file: Path) -> Iterator[ElementTree.Element]:
    """Every operator, also of graphs within operators. A `ValueError` if the document is something else."""
    root = ""
    for event, element in ElementTree.iterparse(file, ("start", "end")):
        root = root or element.tag
        if event == "end" and element.tag == "layer":
            yield element
            element.clear()
    if root != "net":
        raise ValueError


def _check_layer(where: str, layer: ElementTree.Element, size: int) -> None:
    if not _OPERATORS.fullmatch(layer.attrib["version"]):
        raise ConfigError(
            f"{where} should use the operators of OpenVINO only. Got the set {layer.attrib['version'][:80]!r}."
        )
    data = layer.find("data")
    if layer.attrib["type"] != "Const" or data is None:
        return
    shape = [int(n) for n in data.attrib["shape"].split(",") if n.strip()]
    begin, held = int(data.attrib["offset"]), int(data.attrib["size"])
    needed = math.ceil(math.prod(shape) * _BITS[data.attrib["element_type"]] / 8)
    if min([begin, *shape]) < 0 or held != needed or begin + held > size:
        raise ConfigError(
            f"{where} should name constants that lie in its {size} bytes of weights. "
            f"Got {data.attrib['element_type']} {shape} in {held} bytes at {begin}. Export the model again."
        )
