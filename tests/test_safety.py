"""Folders from a stranger: each is a sound exported folder with one thing wrong, and is refused in a sentence."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper

import autocompress
from autocompress.errors import ConfigError
from autocompress.manifest import read_measured, read_serving
from autocompress.safety import inspect

STORED = Path(__file__).parent / "stored" / "format-1"
Spoil = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORED, tmp_path / "given"))


def _written(name: str, content: bytes) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    return spoil


def _set(file: str, **changes: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        found = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(found | changes))

    return spoil


def _header(**changes: Any) -> Spoil:
    """Other claims about the tensor `classifier.bias`, the bytes as they were."""

    def spoil(folder: Path) -> None:
        raw = (folder / "model.safetensors").read_bytes()
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + length])
        header["classifier.bias"] |= changes
        new = json.dumps(header).encode()
        (folder / "model.safetensors").write_bytes(len(new).to_bytes(8, "little") + new + raw[8 + length :])

    return spoil


def _sparse(name: str, size: int) -> Spoil:
    """A file that claims more bytes than the disk holds of it."""

    def spoil(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.truncate(size)

    return spoil


def _onnx(change: Callable[[onnx.ModelProto], None]) -> Spoil:
    def spoil(folder: Path) -> None:
        model = onnx.load(folder / "model.onnx")
        change(model)
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    return spoil


def _elsewhere(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")


def _elsewhere_in_a_branch(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "branch", [], [], [TensorProto(name="w", data_type=1, dims=[1])])
    inner.initializer[0].external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner))


def _custom_operator(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Shell", ["x"], ["y"], domain="evil.ops"))


def _custom_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Shell", ["a"], ["b"], domain="evil.ops")
    model.functions.append(helper.make_function("", "f", ["a"], ["b"], [node], [helper.make_opsetid("", 17)]))


def _linked(folder: Path) -> None:
    (folder.parent / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("../tokenizer.json")


def _linked_folder(folder: Path) -> None:
    (folder / "more").symlink_to("/etc")


def _piped(folder: Path) -> None:
    os.mkfifo(folder / "vocab.txt")


def _nested(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 200_000)


PICKLE = pickle.dumps({"a": print})
QUERY = "bert.encoder.layer.0.attention.self.query"
ENTRY = {"kind": "linear", "in": 32, "out": 10**9, "bias": True}
CASES: dict[str, tuple[Spoil, str]] = {
    "pickle by name": (
        _written("pytorch_model.bin", b"weights"),
        "pytorch_model.bin should not be here: .bin files hold pickles, which run code. Remove it.",
    ),
    "pickle in a subfolder": (
        _written("old/training.PT", b""),
        "old/training.PT should not be here: .pt files hold pickles, which run code. Remove it.",
    ),
    "pickle by its first bytes": (
        _written("vocab.txt", PICKLE), "vocab.txt should hold what its name says. Got a pickle. Remove it.",
    ),
    "zip by its first bytes": (
        _written("notes.md", b"PK\x03\x04rest"),
        "notes.md should hold what its name says. Got a zip archive, in which PyTorch keeps pickles. Remove it.",
    ),
    "python": (
        _written("modeling.py", b"import os"),
        "modeling.py should not be here: an exported model brings no code. Remove it.",
    ),
    "link": (_linked, "tokenizer.json should be a file of its own. Got a link to '../tokenizer.json'. Copy the file."),
    "linked folder": (_linked_folder, "more should be a file of its own. Got a link to '/etc'. Copy the file."),
    "pipe": (_piped, "vocab.txt should be a plain file. Got a pipe, a socket or a device. Remove it."),
    "large JSON": (
        _sparse("config.json", 17_000_000),
        "config.json should have at most 16 MB. Got 17 MB. Export the model again.",
    ),
    "large tokenizer": (
        _sparse("tokenizer.json", 10**9),
        "tokenizer.json should have at most 128 MB. Got 1000 MB. Export the model again.",
    ),
    "large weights": (
        _sparse("model.safetensors", 10**12),
        "model.safetensors should have at most 8000 MB. Got 1000000 MB. Export the model again.",
    ),
    "deep JSON": (_nested, "config.json should be readable JSON. Got RecursionError. Export the model again."),
    "remote code": (
        _set("config.json", auto_map={"AutoModel": "evil/repo--modeling.Evil"}),
        "config.json should not ask for code. Got auto_map = {'AutoModel': 'evil/repo--modeling.Evil'}. "
        "Remove that key.",
    ),
    "a tokenizer's remote code": (
        _set("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tok", None]}),
        "tokenizer_config.json should not ask for code. Got auto_map = {'AutoTokenizer': ['evil.Tok', None]}. "
        "Remove that key.",
    ),
    "a kernel from the hub": (
        _set("config.json", attn_implementation="evil/kernel"),
        "config.json should not fetch kernels. Got attn_implementation = 'evil/kernel'. Remove that key.",
    ),
    "a vocabulary elsewhere": (
        _set("tokenizer_config.json", vocab_file="../../secret.txt"),
        "tokenizer_config.json should name files of this folder only. Got vocab_file = '../../secret.txt'. "
        "Remove that key.",
    ),
    "many threads": (
        _set("serving.json", target={"threads": 10**6}),
        "serving.json should have threads of at most 1024. Got 1000000. Correct it.",
    ),
    "many layers": (
        _set("config.json", num_hidden_layers=10**9),
        "config.json: num_hidden_layers should fit the weights, at most 25. Got 1000000000.",
    ),
    "large vocabulary": (
        _set("config.json", vocab_size=10**9),
        "config.json: vocab_size should fit the weights, at most 131072. Got 1000000000.",
    ),
    "a number of many digits": (
        _set("config.json", hidden_size=10**400),
        "config.json: hidden_size should fit the weights, at most 131072. Got 10000000000000000000.",
    ),
    "another kind of model": (
        _set("config.json", architectures=["AutoBackbone"]),
        "config.json: architectures should name a text classifier of transformers. Got 'AutoBackbone'.",
    ),
    "large structure": (
        _set("structure.json", modules={QUERY: ENTRY}),
        f"structure.json: {QUERY}.out should be a dimension of its weights, one of [32]. Got 1000000000.",
    ),
    "tensor larger than its bytes": (
        _header(shape=[10**12]),
        "model.safetensors should hold tensors that fill its bytes. Got classifier.bias of F32 [1000000000000] "
        "in 8 bytes. Export the model again.",
    ),
    "tensors that overlap": (
        _header(data_offsets=[0, 8]),
        "model.safetensors should hold tensors that fill its bytes. Got tensors with a gap or an overlap at byte 8. "
        "Export the model again.",
    ),
    "negative shape": (
        _header(shape=[-2, -1]),
        "model.safetensors should hold tensors that fill its bytes. Got something else. Export the model again.",
    ),
    "header larger than the file": (
        _written("model.safetensors", (2**60).to_bytes(8, "little") + b"{}"),
        "model.safetensors should hold tensors that fill its bytes. Got a header of 1152921504606846976 bytes in a "
        "file of 10. Export the model again.",
    ),
    "bytes that no tensor claims": (
        _sparse("model.safetensors", 50_000),
        "model.safetensors should hold tensors that fill its bytes. Got tensors of 45576 bytes in a file with 47424. "
        "Export the model again.",
    ),
    "ONNX tensors elsewhere": (
        _onnx(_elsewhere),
        "model.onnx should hold its own tensors. Got one that lies in another file. Export it whole.",
    ),
    "ONNX tensors elsewhere, in a branch": (
        _onnx(_elsewhere_in_a_branch),
        "model.onnx should hold its own tensors. Got one that lies in another file. Export it whole.",
    ),
    "ONNX operators of a library": (
        _onnx(_custom_operator),
        "model.onnx should use the operators of onnxruntime only. Got the domain 'evil.ops'.",
    ),
    "ONNX operators of a library, in a function": (
        _onnx(_custom_function),
        "model.onnx should use the operators of onnxruntime only. Got the domain 'evil.ops'.",
    ),
    "no ONNX": (
        _written("model.onnx", b"\x3a\xff\xff\xff\xff\x7fshort"),
        "model.onnx should be an ONNX model. Got other bytes. Export the model again.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("open_it", [autocompress.load, autocompress.pipeline])
def test_a_folder_with_one_thing_wrong_is_refused(folder: Path, case: str, open_it: Callable[[Path], object]) -> None:
    spoil, sentence = CASES[case]
    spoil(folder)
    start = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        open_it(folder)
    assert str(caught.value) == f"{folder}: {sentence}"
    assert time.monotonic() - start < 2, "it did not try"


@pytest.mark.parametrize("name", ["config.json", "structure.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ConfigError) as caught:
        autocompress.pipeline(folder)
    assert str(caught.value) == f"{folder}: {name} is missing. Export the model again."


def test_sizes_that_each_look_right_but_not_together_are_refused_before_memory_is_taken(folder: Path) -> None:
    """131072 x 131072 weights would take 69 GB a matrix."""
    _set("config.json", hidden_size=2**17, intermediate_size=2**17)(folder)
    with pytest.raises(ConfigError) as caught:
        autocompress.load(folder)
    assert str(caught.value) == (
        f"{folder}: model.safetensors should fit config.json and structure.json. Got "
        "bert.embeddings.LayerNorm.bias of [32] where they ask for [131072]. Export the model again."
    )


def test_sizes_that_no_model_can_have_are_refused(folder: Path) -> None:
    _set("config.json", num_attention_heads=7)(folder)
    with pytest.raises(ConfigError, match=r"config\.json should describe a model that can be built\. Got: The hidden"):
        autocompress.load(folder)


def test_an_artefact_that_the_runtime_cannot_open_is_one_sentence(folder: Path) -> None:
    _onnx(lambda model: setattr(model.graph.node[0], "op_type", "NoSuchOperator"))(folder)
    with pytest.raises(ConfigError, match=r"given: should hold a model that onnxruntime opens on cpu\. Got: "):
        autocompress.pipeline(folder)


def test_a_sound_folder_passes_with_other_files_beside_it(folder: Path) -> None:
    (folder / "LICENSE").write_text("Apache-2.0")
    (folder / ".gitattributes").write_text("*.onnx filter=lfs")
    inspect(folder)


def test_nothing_of_torch_is_unpickled(folder: Path) -> None:
    """The file that plain transformers would take if the safetensors were missing."""
    torch.save({}, folder / "weights.md")
    with pytest.raises(ConfigError, match=r"Got a zip archive, in which PyTorch keeps pickles"):
        autocompress.load(folder)


def test_whatever_the_bytes_the_answer_is_a_sentence_and_comes_at_once(folder: Path) -> None:
    rng, refused, slowest = random.Random(0), 0, 0.0
    files = [file for file in STORED.iterdir() if file.suffix in (".json", ".onnx", ".safetensors")]
    for _ in range(300):
        file = rng.choice(files)
        content = bytearray(file.read_bytes())
        at = rng.randrange(min(len(content), rng.choice([16, 400, 10**6])))
        content[at : at + rng.choice([0, 1, 40])] = rng.choice([b"", b"\xff\xff\xff\x7f", b"9" * 30, b"[", b'"', b"-1"])
        (folder / file.name).write_bytes(content)
        start = time.monotonic()
        try:
            read_serving(folder)
            read_measured(folder)
            inspect(folder)
        except ConfigError:
            refused += 1
        slowest = max(slowest, time.monotonic() - start)
        (folder / file.name).write_bytes(file.read_bytes())
    assert 30 < refused < 300
    assert slowest < 1
