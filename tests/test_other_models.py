"""The runtime does not know what BERT is: decoders, an encoder-decoder and a recurrent network are lowered alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from conftest import context, exact_int8, fresh, toy
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from autocompress.errors import NotApplicable
from autocompress.models import storage
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.models.simulation import simulate
from autocompress.models.surgery import token_tables
from autocompress.runtimes.runtime import find_runtime
from autocompress.serving import load
from autocompress.space.method import find
from autocompress.space.settings import Target
from autocompress.tasks.dataset import inputs

ONNX = find_runtime("onnxruntime")
TEXTS = toy(60)
COMMON = {"vocab_size": 60, "num_labels": 3, "pad_token_id": 1}


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2ForSequenceClassification

    return GPT2ForSequenceClassification(GPT2Config(**COMMON, n_embd=32, n_layer=2, n_head=4, n_positions=40))


def llama() -> nn.Module:
    """Its shape: rotary positions, gated feed-forward, RMS norm, two heads of queries for each of keys."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForSequenceClassification(LlamaConfig(**COMMON, **shape, num_key_value_heads=2))


def t5() -> nn.Module:
    from transformers import T5Config, T5ForSequenceClassification

    shape = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "eos_token_id": 2}
    return T5ForSequenceClassification(T5Config(**COMMON, **shape, decoder_start_token_id=1))


class Lstm(nn.Module):
    """An embedding, one LSTM both ways, the mean of its outputs over the tokens, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(60, 32)
        self.lstm = nn.LSTM(32, 32, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(64, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, output_hidden_states: bool = False) -> SimpleNamespace:
        states_BTD, _ = self.lstm(self.embeddings(input_ids))
        mask_BT1 = attention_mask[..., None].to(states_BTD.dtype)
        return SimpleNamespace(logits=self.classifier((states_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)))


MODELS: dict[str, Callable[[], nn.Module]] = {"gpt2": gpt2, "llama": llama, "t5": t5, "lstm": Lstm}
every_model = pytest.mark.parametrize("kind", MODELS)


def model_of(kind: str) -> nn.Module:
    torch.manual_seed(0)
    model = MODELS[kind]().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return model


def run(folder: Path) -> np.ndarray:
    session = ONNX.open(folder, Target())
    return np.concatenate([session.run(batch) for batch in TEXTS.batches(1)])


def torch_logits(model: nn.Module, size: int = 1) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([model(**inputs(batch)).logits.numpy() for batch in TEXTS.batches(size)])


@every_model
def test_the_artefact_computes_what_the_module_computes(kind: str, tmp_path: Path) -> None:
    """Also with padding, and for batches and lengths that the exporter did not see."""
    model = model_of(kind)
    ONNX.lower(model, PrecisionPlan(), toy().batch([0]), tmp_path)
    np.testing.assert_allclose(run(tmp_path), torch_logits(model), atol=1e-4)
    session = ONNX.open(tmp_path, Target())
    padded = np.concatenate([session.run(batch) for batch in TEXTS.batches(4)])
    np.testing.assert_allclose(padded, torch_logits(model, 4), atol=1e-4)


METHODS = {
    "int8_dynamic": ("int8_dynamic", {}), "int8_static": ("int8_static", {}), "half": ("half", {}),
    "weight_only gptq": ("weight_only", {}), "weight_only awq": ("weight_only", {"algorithm": "awq", "bits": 8}),
    "embedding": ("embedding", {"bits": 4}),
}  # fmt: skip
KERNELS = {"gpt2": 9, "llama": 15, "t5": 34, "lstm": 1}  # products in each


@exact_int8
@every_model
@pytest.mark.parametrize("method", METHODS)
def test_precisions_are_carried_out_and_labels_are_those_of_the_simulation(
    method: str, kind: str, tmp_path: Path
) -> None:
    name, knobs = METHODS[method]
    model, ctx = model_of(kind), context(model_of(kind))
    changed = find(name)(**knobs).apply(fresh(model), ctx)
    ONNX.lower(model, PrecisionPlan(), toy().batch([0]), tmp_path / "dense")
    ONNX.lower(changed, ctx.precision, toy().batch([0]), tmp_path / "changed")
    sizes = [ONNX.artefact(tmp_path / one).stat().st_size for one in ("dense", "changed")]
    assert sizes[1] < sizes[0]
    counts = operators(tmp_path / "changed")
    products = 0 if name in ("half", "embedding") else KERNELS[kind]
    assert counts["MatMulIntegerToFloat"] + counts["MatMulNBits"] == products
    ran, expected = run(tmp_path / "changed"), torch_logits(simulate(changed, ctx.precision, rounds_groups=True))
    assert (ran.argmax(1) == expected.argmax(1)).mean() >= 0.99
    assert np.abs(ran - expected).max() <= 0.03 * np.ptp(expected)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_a_model_is_stored_and_loaded_and_what_has_several_names_is_stored_once(kind: str, tmp_path: Path) -> None:
    """As T5's table, which is its encoder's and its decoder's too."""
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    model, batch = MODELS[kind]().eval(), inputs(TEXTS.batch([0, 1]))
    storage.save(model, tmp_path)
    loaded = storage.load(tmp_path)
    assert [name for name, _ in loaded.named_parameters()] == [name for name, _ in model.named_parameters()]
    with torch.no_grad():
        expected = model(**batch).logits
        for other in (loaded, AutoModelForSequenceClassification.from_pretrained(tmp_path)):
            torch.testing.assert_close(other(**batch).logits, expected, rtol=0, atol=0)


@pytest.mark.parametrize(("kind", "left"), [("gpt2", 8), ("llama", 14), ("t5", 32)])
def test_exclude_finds_the_head_of_any_model(kind: str, left: int) -> None:
    ctx = context(model_of(kind))
    find("int8_dynamic")(exclude="classifier", embeddings=False).apply(model_of(kind), ctx)
    assert len(ctx.precision) == left
    with pytest.raises(NotApplicable, match="leaves no linear layer"):  # of two layers none is in between
        find("int8_dynamic")(exclude="first_last").apply(model_of(kind), ctx)


def operators(folder: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(ONNX.artefact(folder)).graph.node)


def test_the_table_of_the_vocabulary_may_have_the_fewest_rows() -> None:
    """Characters are fewer than positions."""
    config = BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    assert list(token_tables(BertForSequenceClassification(config))) == ["bert.embeddings.word_embeddings"]
    assert list(token_tables(Lstm())) == ["embeddings"]
    tables = token_tables(t5())
    assert list(tables) == [
        "transformer.shared",
        "transformer.encoder.embed_tokens",
        "transformer.decoder.embed_tokens",
    ]


def test_what_has_several_names_is_loaded_from_an_exported_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    storage.save(t5(), tmp_path)
    assert load.load(tmp_path).config.model_type == "t5"
