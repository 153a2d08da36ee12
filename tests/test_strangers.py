"""What a stranger's tokenizer, manifest and model may do when texts come: answer, or say a sentence at once."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import helper
from spoil import STORED, Spoil, changed, graph, written

import autocompress
from autocompress.cli.terminal import plain
from autocompress.errors import ConfigError
from autocompress.serving.safety.inspection import inspect
from autocompress.serving.verify import verify


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(STORED, tmp_path / "given"))
    fill = {"input_ids": 0, "attention_mask": 0, "token_type_ids": 0}
    changed("serving.json", inputs=fill)(copy)  # as exports have it: transformers' half of the tokenizer is not needed
    return copy


def replace(content: str, **pattern: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def normalizer(*parts: dict[str, Any]) -> Spoil:
    return changed("tokenizer.json", normalizer={"type": "Sequence", "normalizers": list(parts)})


def table(longest: int) -> dict[str, Any]:
    """A sentencepiece table with a trie of four bytes, which puts so many letters in the place of one."""
    content = (4).to_bytes(4, "little") + bytes(4) + b"x" * longest + b"\0"
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(content).decode()}


def template(*pieces: dict[str, Any]) -> Spoil:
    pair = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    special = {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}}
    parts = {"single": list(pieces), "pair": pair, "special_tokens": special}
    return changed("tokenizer.json", post_processor={"type": "TemplateProcessing", **parts})


def whole_numbers(model: onnx.ModelProto) -> None:
    _behind(model, helper.make_node("Cast", ["before"], ["logits"], to=onnx.TensorProto.INT64))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64


def square(size: int) -> Spoil:
    """Logits that are the largest of a table of this size squared, which no file holds."""
    return graph(lambda model: _behind(
        model,
        helper.make_node("Concat", ["before"] * (size // 2), ["wide"], axis=1),
        helper.make_node("Transpose", ["wide"], ["tall"], perm=[1, 0]),
        helper.make_node("Mul", ["wide", "tall"], ["square"]),
        helper.make_node("ReduceMax", ["square"], ["logits"], axes=[1], keepdims=1),
    ))  # fmt: skip


def _behind(model: onnx.ModelProto, *nodes: onnx.NodeProto) -> None:
    for node in model.graph.node:
        node.output[:] = ["before" if name == "logits" else name for name in node.output]
    model.graph.node.extend(nodes)


A, CLS = {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
ENDLESS = "tokenizer.json should have no regular expression that could take for ever. Got "
BEFORE: dict[str, tuple[Spoil, str]] = {  # by looking at the files: for `load`, too
    "no tokenizer": (
        written("tokenizer.json", b"[]"),
        "tokenizer.json should hold a tokenizer. Got list. Export the model again.",
    ),
    "a repeated group": (
        normalizer(replace("x", Regex="(a+)+$")), ENDLESS + "a repeated group in '(a+)+$'.",
    ),
    "repeated repetitions": (
        normalizer(replace("x", Regex="a{999}{999}")), ENDLESS + "a repeated group in 'a{999}{999}'.",
    ),
    "a group hidden by a remark": (
        normalizer(replace("x", Regex="(?#[)(a+)+(?#])")),
        ENDLESS + "a reference or an odd group in '(?#[)(a+)+(?#])'.",
    ),
    "recursion": (
        normalizer(replace("x", Regex=r"(a|\g<1>)")), ENDLESS + r"a reference or an odd group in '(a|\\g<1>)'.",
    ),
    "many choices": (
        changed("tokenizer.json", pre_tokenizer={
            "type": "Split", "pattern": {"Regex": "a?" * 30}, "behavior": "Isolated", "invert": False,
        }),
        ENDLESS + f"too much in '{'a?' * 30}'.",
    ),
    "a long expression": (normalizer(replace("x", Regex="a" * 2001)), ENDLESS + "one of 2001 letters."),
    "one letter becomes a billion": (
        normalizer(*[replace("e" * 1000, String="e")] * 3),
        "tokenizer.json should have content of at most 100 letters. Got 1000.",
    ),
    "one letter becomes a million, in small steps": (
        normalizer(*[replace("e" * 100, String="e")] * 3),
        "tokenizer.json should make at most 1024 letters of one. Got 1000000.",
    ),
    "a table makes many letters": (
        normalizer(table(2000)), "tokenizer.json should make at most 1024 letters of one. Got 2000.",
    ),
    "a letter between any two, again and again": (
        normalizer(*[replace("x", Regex="a*")] * 20),
        "tokenizer.json should make at most 1024 letters of one. Got 1048576.",
    ),
    "long words": (
        changed("tokenizer.json", "model", max_input_chars_per_word=10**9),
        "tokenizer.json should look for words of at most 1000 letters. Got 1000000000.",
    ),
    "a table in other letters": (
        normalizer({"type": "Precompiled", "precompiled_charsmap": "?"}),
        "tokenizer.json should have a readable precompiled_charsmap. Got other letters.",
    ),
    "a template that multiplies": (
        template(*[A] * 30), "tokenizer.json should name every text once in its template. Got 30 in 'single'.",
    ),
    "many parts": (
        normalizer(*[{"type": "Lowercase"}] * 300),
        "tokenizer.json should have at most 500 values besides its vocabulary. Got 655.",
    ),
}  # fmt: skip
OPENED: dict[str, tuple[Spoil, str]] = {  # by the reader's own errors
    "a bad expression": (
        normalizer(replace("x", Regex="((")),
        "tokenizer.json should hold a tokenizer. Got: Oniguruma error: end pattern with unmatched parenthesis",
    ),
    "a panic of Rust": (
        normalizer({"type": "Precompiled", "precompiled_charsmap": "AAEAAP////8="}),
        "tokenizer.json should hold a tokenizer. Got: Precompiled: Error(",
    ),
    "a panic at the first text": (
        changed("tokenizer.json", pre_tokenizer={"type": "FixedLength", "length": 0}),
        "tokenizer.json should hold a tokenizer. Got: chunk size must be non-zero",
    ),
    "a token's number that is none": (
        lambda folder: changed("tokenizer.json", "model", vocab={"[UNK]": 10**12})(folder),
        "tokenizer.json should hold a tokenizer. Got: invalid value: integer `1000000000000`, expected u32",
    ),
    "no settings": (
        written("tokenizer_config.json", b"[]"),
        "tokenizer_config.json should have a truncation_side of left or right. Got None.",
    ),
    "a side that is none": (
        changed("tokenizer_config.json", truncation_side=["left"]),
        "tokenizer_config.json should have a truncation_side of left or right. Got ['left'].",
    ),
}  # fmt: skip
CALLED: dict[str, tuple[Spoil, str]] = {  # when a text comes
    "tokens that the model does not have": (
        changed("tokenizer.json", "model", vocab={"[UNK]": 1, "honey": 10**6}),
        "should hold a model that answers. Got: [ONNXRuntimeError] : 2 : INVALID_ARGUMENT",
    ),
    "more tokens than the longest text has": (
        template(*[CLS] * 40, A), "tokenizer.json should give at most 16 tokens a text. Got ",
    ),
    "more labels than the model": (
        changed("serving.json", labels=["a", "b", "c"]),
        "should hold a model that gives 3 numbers a text, one a label. Got float32 of (1, 2). Export the model again.",
    ),
    "other inputs than the model's": (
        changed("serving.json", inputs={"attention_mask": 0}),
        "should hold a model that answers. Got: 'input_ids'",
    ),
    "logits that are none": (
        graph(whole_numbers),
        "should hold a model that gives 2 numbers a text, one a label. Got int64 of (1, 2). Export the model again.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BEFORE)
def test_what_could_take_for_ever_is_refused_by_looking(folder: Path, case: str) -> None:
    spoil, sentence = BEFORE[case]
    spoil(folder)
    with pytest.raises(ConfigError) as caught:
        autocompress.load(folder)
    assert str(caught.value) == f"{folder}: {sentence}"


@pytest.mark.parametrize("case", OPENED)
def test_what_its_reader_does_not_take_is_a_sentence(folder: Path, case: str) -> None:
    spoil, sentence = OPENED[case]
    spoil(folder)
    with pytest.raises(ConfigError) as caught:
        autocompress.pipeline(folder)
    assert str(caught.value).startswith(f"{folder}: {sentence}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", CALLED)
def test_what_goes_wrong_at_a_text_is_a_sentence(folder: Path, case: str) -> None:
    spoil, sentence = CALLED[case]
    spoil(folder)
    classify = autocompress.pipeline(folder)
    with pytest.raises(ConfigError) as caught:
        classify("honey tree")
    assert str(caught.value).startswith(f"{folder}: {sentence}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", ["a panic at the first text", "more labels than the model"])
def test_measuring_it_again_is_refused_alike(folder: Path, case: str) -> None:
    spoil, sentence = (OPENED | CALLED)[case]
    spoil(folder)
    with pytest.raises(ConfigError) as caught:
        verify(folder)
    assert str(caught.value).startswith(f"{folder}: {sentence}")


def test_words_that_its_tokenizer_cannot_read_are_a_sentence(folder: Path) -> None:
    changed("tokenizer.json", "model", vocab={"a": 0, "text": 1})(folder)
    with pytest.raises(ConfigError, match=r"given: tokenizer\.json should hold a tokenizer\. Got: WordLevel error"):
        autocompress.pipeline(folder)("honey")
    with pytest.raises(ConfigError, match=r"given: should hold a tokenizer that reads any text\. Got: WordLevel error"):
        verify(folder, str(STORED.parent / "validation.csv"))


ONE_PERCENT = """
import sys, autocompress, autocompress.runtimes.onnxruntime.runtime as runtime
runtime._MEMORY_SHARE = 0.01
classify = autocompress.pipeline(sys.argv[1])
try:
    classify("honey")
except ValueError as e:
    print(type(e).__name__, e)
"""


def test_a_small_graph_does_not_get_all_the_memory(folder: Path) -> None:
    square(20_000)(folder)
    done = subprocess.run([sys.executable, "-c", ONE_PERCENT, folder], capture_output=True, text=True)
    assert done.stdout.startswith(f"ConfigError {folder}: should hold a model that answers. Got: [ONNXRuntimeError]")
    assert "is smaller than requested bytes of 1600000000" in done.stdout
    assert done.stderr == ""


PUBLISHED = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # GPT-2
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+",  # Llama 3
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",  # GPT-4o
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+""",  # DeepSeek
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+| ?[^\s\p{L}\p{N}]++[\r\n]*",  # GPT-4
    " ?[^(\\s|[.,!?…。，、।۔،])]+",  # BLOOM
    r"\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))",  # SuperBPE
    " {2,}",  # ALBERT
]


@pytest.mark.parametrize("pattern", PUBLISHED)
def test_the_expressions_of_published_tokenizers_pass(folder: Path, pattern: str) -> None:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    changed("tokenizer.json", pre_tokenizer=split)(folder)
    normalizer(replace(" ", Regex=" {2,}"), table(33), {"type": "NFKD"}, {"type": "Lowercase"})(folder)
    inspect(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"threads": 10**6}, "target.threads: should be less than or equal to 1024. Got 1000000."),
        ({"sequence_length": 10**6}, "target.sequence_length: should be less than or equal to 131072. Got 1000000."),
        ({"batch_size": 4096}, "target.sequence_length: should be at most 64 with batches of 4096. Got 128."),
    ],
)
def test_a_batch_that_would_fill_the_memory_is_refused(folder: Path, changes: dict[str, int], said: str) -> None:
    changed("serving.json", "target", **{"sequence_length": 128} | changes)(folder)
    with pytest.raises(ConfigError) as caught:
        autocompress.load(folder)
    assert str(caught.value).startswith(f"{folder}/serving.json: {said}")


def test_an_odd_value_is_cut_short(folder: Path) -> None:
    changed("serving.json", seed="7" * 10**6)(folder)
    with pytest.raises(ConfigError, match=r"serving\.json: seed: .* Got '77+\.\.\.") as caught:
        autocompress.load(folder)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("data", ["..", "/etc", {"train": "/etc/passwd"}, {"train": "../given/serving.json"}])
def test_texts_elsewhere_are_not_read_because_a_folder_says_so(
    folder: Path, data: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    changed("serving.json", "task", data=data)(folder)
    assert verify(folder)[0].verdict == "not measured: the study's texts are not here, give --data"


def test_what_a_folder_says_does_not_steer_the_terminal(folder: Path) -> None:
    assert plain("a\x1b[2J\x07 tab\t ünï\n") == "a\\x1b[2J\\x07 tab\t ünï\n"
    changed("serving.json", labels=["\x1b[2Jsour", "\x1b[2Jsweet"])(folder)
    command = [sys.executable, "-m", "autocompress", "predict", str(folder), "honey"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "\\x1b[2Jsweet" in done.stdout, done.stderr
    assert "\x1b" not in done.stdout
    written("\x1b[2J.py", b"")(folder)
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "\x1b" not in done.stderr


def test_the_server_of_mlflow_looks_before_it_opens(folder: Path) -> None:
    from autocompress.tracking.served import Served

    written("more.pkl", b"")(folder)
    with pytest.raises(ConfigError, match=r"more\.pkl should not be here: \.pkl files hold pickles, which run code\."):
        Served().load_context(SimpleNamespace(artifacts={"exported": str(folder)}))
