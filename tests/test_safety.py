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

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.numpy import load_file, save_file
from spoil import STORED, Spoil, added, changed, graph, header, large, linked, written

import autocompress
from autocompress.errors import ConfigError
from autocompress.serving.folder import read_measured, read_serving
from autocompress.serving.safety.inspection import inspect


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORED, tmp_path / "given"))


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


def _loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["y"], body=body))


def _sparse(model: onnx.ModelProto) -> None:
    values, at = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]), helper.make_tensor("", 7, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, at, [10**12]))


def _many(name: str, count: int, content: bytes = b"") -> Spoil:
    return lambda folder: [written(name.format(at), content)(folder) for at in range(count)]


def _deep_folders(folder: Path) -> None:
    """Their names in a row are longer than the system takes, so each is made from within the last."""
    place = os.open(folder, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("x" * 200, dir_fd=place)
        place = os.open("x" * 200, os.O_RDONLY, dir_fd=place)


def _empty_tensor(folder: Path) -> None:
    save_file({"huge": np.zeros((2**40, 0), np.float32)}, folder / "model.safetensors")


def _other(architecture: str, kind: str, **settings: Any) -> Spoil:
    """Another model family, most of whose settings are its defaults."""
    found = {"architectures": [f"{architecture}ForSequenceClassification"], "model_type": kind} | settings
    return written("config.json", json.dumps(found).encode())


PICKLE = pickle.dumps({"a": print})
QUERY = "bert.encoder.layer.0.attention.self.query"
ENTRY = {"kind": "linear", "in": 32, "out": 10**9, "bias": True}
CASES: dict[str, tuple[Spoil, str]] = {
    "pickle by name": (
        written("pytorch_model.bin", b"weights"),
        "pytorch_model.bin should not be here: .bin files hold pickles, which run code. Remove it.",
    ),
    "pickle in a subfolder": (
        written("old/training.PT", b""),
        "old/training.PT should not be here: .pt files hold pickles, which run code. Remove it.",
    ),
    "pickle by its first bytes": (
        written("vocab.txt", PICKLE), "vocab.txt should hold what its name says. Got a pickle. Remove it.",
    ),
    "zip by its first bytes": (
        written("notes.md", b"PK\x03\x04rest"),
        "notes.md should hold what its name says. Got a zip archive, in which PyTorch keeps pickles. Remove it.",
    ),
    "python": (
        written("modeling.py", b"import os"),
        "modeling.py should not be here: an exported model brings no code and no archives. Remove it.",
    ),
    "a script without a suffix": (
        written("run", b"#!/bin/sh"),
        "run should not be here: an exported model brings no code and no archives. Remove it.",
    ),
    "archive": (
        written("weights.tar", b"-"),
        "weights.tar should not be here: an exported model brings no code and no archives. Remove it.",
    ),
    "archive by its bytes": (
        written("notes.txt", b"BZh91AY&SY\xb0"),
        "notes.txt should hold what its name says. Got other bytes than text in UTF-8. Remove it.",
    ),
    "text with zeros": (
        written("LICENSE", b"MZ\0"), "LICENSE should hold what its name says. Got other bytes than text. Remove it.",
    ),
    "picture": (written("front.png", b"GIF"), "front.png should hold what its name says. Got other bytes. Remove it."),
    "weights of OpenVINO alone": (
        written("model.bin", b"weights"),
        "model.bin should not be here: .bin files hold pickles, which run code. Remove it.",
    ),
    "pickle written as text": (
        written("README.md", pickle.dumps([1, "a", print], 0)),
        "README.md should hold what its name says. Got a pickle. Remove it.",
    ),
    "a name that steers the terminal": (
        written("\x1b[2J.py", b""),
        "'\\x1b[2J.py' should not be here: an exported model brings no code and no archives. Remove it.",
    ),
    "many files": (_many("{}.md", 1001), "an exported model should have at most 1000 files. Got more."),
    "much text": (
        _many("{}.json", 3, b"[" + b"1," * 4_500_000 + b"1]"),
        "its notes and settings should have at most 24 MB. Got more.",
    ),
    "names that are too long": (
        _deep_folders, "every file should be readable. Got: File name too long. Export it again.",
    ),
    "link": (
        linked("tokenizer.json", "../tokenizer.json"),
        "tokenizer.json should be a file of its own. Got a link to '../tokenizer.json'. Copy the file.",
    ),
    "linked folder": (linked("more", "/etc"), "more should be a file of its own. Got a link to '/etc'. Copy the file."),
    "pipe": (
        lambda folder: os.mkfifo(folder / "vocab.txt"),
        "vocab.txt should be a plain file. Got a pipe, a socket or a device. Remove it.",
    ),
    "large JSON": (
        large("config.json", 17_000_000),
        "config.json should have at most 16 MB. Got 17 MB. Export the model again.",
    ),
    "large tokenizer": (
        large("tokenizer.json", 10**9),
        "tokenizer.json should have at most 64 MB. Got 1000 MB. Export the model again.",
    ),
    "large weights": (
        large("model.safetensors", 10**12),
        "model.safetensors should have at most 8000 MB. Got 1000000 MB. Export the model again.",
    ),
    "deep JSON": (
        written("config.json", b"[" * 200_000),
        "config.json should be readable JSON. Got RecursionError. Export the model again.",
    ),
    "remote code": (
        changed("config.json", auto_map={"AutoModel": "evil/repo--modeling.Evil"}),
        "config.json should not ask for code. Got auto_map = {'AutoModel': 'evil/repo--modeling.Evil'}. "
        "Remove that key.",
    ),
    "a tokenizer's remote code": (
        changed("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tok", None]}),
        "tokenizer_config.json should not ask for code. Got auto_map = {'AutoTokenizer': ['evil.Tok', None]}. "
        "Remove that key.",
    ),
    "a kernel from the hub": (
        changed("config.json", attn_implementation="evil/kernel"),
        "config.json should not fetch kernels. Got attn_implementation = 'evil/kernel'. Remove that key.",
    ),
    "a vocabulary elsewhere": (
        changed("tokenizer_config.json", vocab_file="../../secret.txt"),
        "tokenizer_config.json should name files of this folder only. Got vocab_file = '../../secret.txt'. "
        "Remove that key.",
    ),
    "remote code in a subfolder": (
        written("more/config.json", b'{"auto_map": {"AutoModel": "evil"}}'),
        "more/config.json should not ask for code. Got auto_map = {'AutoModel': 'evil'}. Remove that key.",
    ),
    "remote code, said twice": (
        added("config.json", '"auto_map": {"AutoModel": "evil"}, "auto_map": null,'),
        "config.json should say every key once. Got 'auto_map' twice. Remove one.",
    ),
    "a kernel from the hub, for a part": (
        changed("config.json", _attn_implementation={"": "evil/kernel"}),
        "config.json should not fetch kernels. Got _attn_implementation = {'': 'evil/kernel'}. Remove that key.",
    ),
    "an adapter of a model elsewhere": (
        written("adapter_config.json", b'{"base_model_name_or_path": "../../evil"}'),
        "adapter_config.json should not need another model. Got base_model_name_or_path = '../../evil'. "
        "Merge it first.",
    ),
    "the folder above": (
        changed("tokenizer_config.json", vocab_file=".."),
        "tokenizer_config.json should name files of this folder only. Got vocab_file = '..'. Remove that key.",
    ),
    "JSON of many lists": (
        written("tokenizer.json", b"[" * 2_000_001),
        "tokenizer.json should hold at most 2000000 lists. Got more. Export the model again.",
    ),
    "many layers": (
        changed("config.json", num_hidden_layers=10**9),
        "config.json: num_hidden_layers should fit the weights, at most 25. Got 1000000000.",
    ),
    "large vocabulary": (
        changed("config.json", vocab_size=10**9),
        "config.json: vocab_size should fit the weights, at most 1048576. Got 1000000000.",
    ),
    "a number of many digits": (
        changed("config.json", hidden_size=10**400),
        "config.json: hidden_size should fit the weights, at most 1048576. Got 10000000000000000000.",
    ),
    "many layers in a list": (
        _other("Funnel", "funnel", block_sizes=[4, 10**5]),
        "config.json: block_sizes should fit the weights, at most 25. Got 100000.",
    ),
    "many labels": (
        changed("config.json", num_labels=2**17, id2label=None),
        "config.json: num_labels should fit the weights, at most 65536. Got 131072.",
    ),
    "long texts": (
        changed("serving.json", "task", max_length=64),
        "serving.json: task.max_length should be at most 32, as bert.embeddings.position_embeddings.weight has it. "
        "Got 64.",
    ),
    "another kind of model": (
        changed("config.json", architectures=["AutoBackbone"]),
        "config.json: architectures should name a text classifier of transformers. Got 'AutoBackbone'.",
    ),
    "large structure": (
        changed("structure.json", modules={QUERY: ENTRY}),
        f"structure.json: {QUERY}.out should be a dimension of its weights, one of [32]. Got 1000000000.",
    ),
    "tensor larger than its bytes": (
        header(shape=[10**12]),
        "model.safetensors should hold tensors that fill its bytes. Got classifier.bias of F32 [1000000000000] "
        "in 8 bytes. Export the model again.",
    ),
    "tensors that overlap": (
        header(data_offsets=[0, 8]),
        "model.safetensors should hold tensors that fill its bytes. Got tensors with a gap or an overlap at byte 8. "
        "Export the model again.",
    ),
    "negative shape": (
        header(shape=[-2, -1]),
        "model.safetensors should hold tensors that fill its bytes. Got something else. Export the model again.",
    ),
    "tensor of no bytes": (
        _empty_tensor,
        "model.safetensors should hold tensors that fill its bytes. Got something else. Export the model again.",
    ),
    "header larger than the file": (
        written("model.safetensors", (2**60).to_bytes(8, "little") + b"{}"),
        "model.safetensors should hold tensors that fill its bytes. Got a header of 1152921504606846976 bytes in a "
        "file of 10. Export the model again.",
    ),
    "bytes that no tensor claims": (
        large("model.safetensors", 50_000),
        "model.safetensors should hold tensors that fill its bytes. Got tensors of 45576 bytes in a file with 47424. "
        "Export the model again.",
    ),
    "ONNX tensors elsewhere": (
        graph(_elsewhere),
        "model.onnx should hold its own tensors. Got one that lies in another file. Export it whole.",
    ),
    "ONNX tensors elsewhere, in a branch": (
        graph(_elsewhere_in_a_branch),
        "model.onnx should hold its own tensors. Got one that lies in another file. Export it whole.",
    ),
    "ONNX operators of a library": (
        graph(_custom_operator),
        "model.onnx should use the operators of onnxruntime only. Got the domain 'evil.ops'.",
    ),
    "ONNX operators of a library, in a function": (
        graph(_custom_function),
        "model.onnx should use the operators of onnxruntime only. Got the domain 'evil.ops'.",
    ),
    "ONNX loop": (
        graph(_loop), "model.onnx should have no loops, which may turn for ever. Got the operator Loop.",
    ),
    "ONNX tensor that is small on disk": (
        graph(_sparse), "model.onnx should hold its tensors dense. Got a sparse one, which may claim any size.",
    ),
    "ONNX of many fields": (
        written("model.onnx", b"\x08\x07" * 500_001), "model.onnx should have at most 500000 fields. Got more.",
    ),
    "no ONNX": (
        written("model.onnx", b"\x08\x07\x3a\xff\xff\xff\xff\x7fshort"),
        "model.onnx should be an ONNX model. Got other bytes. Export the model again.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("open_it", [autocompress.load, autocompress.pipeline])
def test_a_folder_with_one_thing_wrong_is_refused(folder: Path, case: str, open_it: Callable[[Path], object]) -> None:
    spoil, sentence = CASES[case]
    spoil(folder)
    with pytest.raises(ConfigError) as caught:
        open_it(folder)
    assert str(caught.value) == f"{folder}: {sentence}"


NEEDED = ["config.json", "structure.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ConfigError) as caught:
        autocompress.pipeline(folder)
    assert str(caught.value) == f"{folder}: {name} is missing. Export the model again."


UNBUILDABLE: dict[str, tuple[Spoil, str]] = {
    "sizes that look right but not together": (  # 131072 x 131072 weights would take 69 GB a matrix
        changed("config.json", hidden_size=2**17, intermediate_size=2**17),
        "model.safetensors should fit config.json and structure.json. Got bert.embeddings.LayerNorm.bias of [32] where "
        "they ask for [131072]. Export the model again.",
    ),
    "sizes that no model can have": (
        changed("config.json", num_attention_heads=7),
        "config.json should describe a model that can be built. Got: The hidden size (32) is not a multiple of the "
        "number of attention heads (7)",
    ),
    "a negative size": (
        changed("config.json", hidden_size=-5),
        "config.json should describe a model that can be built. Got: Trying to create tensor with negative dimension "
        "-5: [18, -5]",
    ),
    "no number": (
        changed("config.json", hidden_size=float("nan")),
        "config.json should describe a model that can be built. Got: Validation error for field 'hidden_size': "
        "TypeError: Field 'hidden_size' expected int, got float (value: nan)",
    ),
    "modules that no tensor fills": (
        _other("Albert", "albert", num_hidden_groups=10**6, inner_group_num=10**6),
        "config.json should ask for modules that the weights fill, at most 350. Got more.",
    ),
    "a mask of 2^34 bytes": (
        _other("GPTNeo", "gpt_neo", max_position_embeddings=2**17, num_layers=2, attention_types=[[["global"], 2]]),
        "config.json should ask for at most 268435456 bytes of tables. Got 34359738368.",
    ),
    "codes where numbers belong": (
        lambda folder: save_file(
            {name: values.astype(np.int8) for name, values in load_file(folder / "model.safetensors").items()},
            folder / "model.safetensors",
        ),
        "model.safetensors does not fit structure.json and config.json. While copying the parameter named ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNBUILDABLE)
def test_a_module_that_makes_no_sense_is_refused_before_time_and_memory_are_taken(folder: Path, case: str) -> None:
    spoil, sentence = UNBUILDABLE[case]
    spoil(folder)
    with pytest.raises(ConfigError) as caught:
        autocompress.load(folder)
    assert str(caught.value).startswith(f"{folder}: {sentence}")
    assert "\n" not in str(caught.value)


def test_an_artefact_that_the_runtime_cannot_open_is_one_sentence(folder: Path) -> None:
    graph(lambda model: setattr(model.graph.node[0], "op_type", "NoSuchOperator"))(folder)
    with pytest.raises(ConfigError, match=r"given: should hold a model that onnxruntime opens on cpu\. Got: "):
        autocompress.pipeline(folder)


def test_a_sound_folder_passes_with_other_files_beside_it(folder: Path) -> None:
    for name in ("LICENSE", ".gitattributes", "vocab.txt", "merges.txt", "chat_template.jinja", "front.svg",
                 "special_tokens_map.json", ".cache/huggingface/download/config.json.metadata"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    written("model.xml", b"<net/>")(folder)
    written("model.bin", b"\x80\x3f weights")(folder)
    written("spiece.model", b"\n\x0e\n\x05<unk>")(folder)
    inspect(folder)


def test_a_folder_may_be_reached_by_a_link(folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    assert autocompress.pipeline(folder.parent / "link")("honey")[0]["label"] == "sweet"


def test_nothing_of_torch_is_unpickled(folder: Path) -> None:
    """The file that plain transformers would take if the safetensors were missing."""
    torch.save({}, folder / "weights.md")
    with pytest.raises(ConfigError, match=r"Got a zip archive, in which PyTorch keeps pickles"):
        autocompress.load(folder)


@pytest.mark.parametrize("to", ["/proc/kmsg", "/dev/zero"])
def test_a_manifest_that_never_ends_is_not_read(folder: Path, to: str) -> None:
    linked("serving.json", to)(folder)
    with pytest.raises(ConfigError, match=r"exported model here|it should hold a JSON object\. Got something else\."):
        autocompress.pipeline(folder)


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
