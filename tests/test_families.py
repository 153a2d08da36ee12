"""The methods that cut a model act on every family that has a table, and say why where they have no meaning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import context, fresh, toy
from torch import Tensor, nn

from autocompress.errors import NotApplicable
from autocompress.models import storage
from autocompress.models.families.anatomy import Attention, anatomy
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.models.students import by_shape
from autocompress.models.surgery import features, product, weight_OI
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.method import find
from autocompress.space.settings import Target
from autocompress.tasks.dataset import inputs

COMMON = {"vocab_size": 60, "num_labels": 3, "pad_token_id": 1}
SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2ForSequenceClassification

    return GPT2ForSequenceClassification(GPT2Config(**COMMON, n_embd=32, n_layer=4, n_head=4, n_inner=64))


def llama(kv_heads: int = 2) -> nn.Module:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    return LlamaForSequenceClassification(LlamaConfig(**COMMON, **SHAPE, num_key_value_heads=kv_heads))


def qwen() -> nn.Module:
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    window = {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2}
    return Qwen2ForSequenceClassification(Qwen2Config(**COMMON, **SHAPE, **window, num_key_value_heads=2))


def t5(kind: str = "relu") -> nn.Module:
    from transformers import T5Config, T5ForSequenceClassification

    shape = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 4, "num_heads": 4, "eos_token_id": 2}
    return T5ForSequenceClassification(T5Config(**COMMON, **shape, decoder_start_token_id=1, feed_forward_proj=kind))


def albert() -> nn.Module:
    from transformers import AlbertConfig, AlbertForSequenceClassification

    return AlbertForSequenceClassification(AlbertConfig(**COMMON, **SHAPE, embedding_size=16))


def lstm() -> nn.Module:
    return of_our_own("bilstm")


def electra() -> nn.Module:
    from transformers import ElectraConfig, ElectraForSequenceClassification

    return ElectraForSequenceClassification(ElectraConfig(**COMMON, **SHAPE, embedding_size=16))


def deberta(share: bool = True) -> nn.Module:
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    positions = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
    more = {"share_att_key": share, "norm_rel_ebd": "layer_norm", "position_biased_input": False}
    return DebertaV2ForSequenceClassification(DebertaV2Config(**COMMON, **SHAPE, **positions, **more))


def mpnet() -> nn.Module:
    from transformers import MPNetConfig, MPNetForSequenceClassification

    return MPNetForSequenceClassification(MPNetConfig(**COMMON, **SHAPE, max_position_embeddings=40))


def modernbert() -> nn.Module:
    from transformers import ModernBertConfig, ModernBertForSequenceClassification

    special = {"eos_token_id": 2, "bos_token_id": 2, "cls_token_id": 2, "sep_token_id": 2}
    config = ModernBertConfig(**COMMON, **SHAPE, **special, local_attention=8, global_attn_every_n_layers=2)
    return ModernBertForSequenceClassification(config)


def of_our_own(shape: str) -> nn.Module:
    model = by_shape()[shape]
    return model(model.config_class(**COMMON, hidden_size=32, num_hidden_layers=4))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "gpt2": gpt2, "llama": llama, "one key for all": lambda: llama(1), "qwen2": qwen, "t5": t5,
    "gated t5": lambda: t5("gated-gelu"), "albert": albert, "electra": electra, "deberta": deberta,
    "deberta that projects positions apart": lambda: deberta(False), "mpnet": mpnet, "modernbert": modernbert,
    "lstm": lstm, "gru": lambda: of_our_own("gru"), "cnn": lambda: of_our_own("cnn"),
    "bag of words": lambda: of_our_own("embedding_bag"),
}  # fmt: skip
every_family = pytest.mark.parametrize("family", MODELS)
every_cut = pytest.mark.parametrize("method", ["layers", "heads", "neurons", "low_rank"])
STUDENTS = {"lstm": "lstm", "gru": "gru", "cnn": "cnn", "bag of words": "embedding_bag"}
NOTHING = {
    "heads": "a '{0}' model has no attention heads", "neurons": "a '{0}' model has no feed-forward neurons",
    "low_rank": "no linear layer in scope 'all' has a smaller pair at keep=0.5",
    "layers": "a '{0}' model has no layers that follow each other",
}  # fmt: skip
MEANINGLESS = {
    (family, method): reason.format(f"autocompress_{kind}")
    for family, kind in STUDENTS.items() for method, reason in NOTHING.items()
    if method in ("heads", "neurons") or family == "bag of words"
}  # fmt: skip
MEANINGLESS["cnn", "layers"] = "keep=0.5 of 1 layers drops none"


def model_of(family: str) -> nn.Module:
    torch.manual_seed(0)
    model = MODELS[family]().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def logits(model: nn.Module, texts: int = 8) -> Tensor:
    with torch.no_grad():
        return torch.cat([model(**inputs(batch)).logits for batch in toy(texts).batches(4)])


@every_family
@every_cut
@pytest.mark.slow
def test_a_cut_acts_reloads_and_is_exported(family: str, method: str, tmp_path: Path) -> None:
    model = model_of(family)
    if (family, method) in MEANINGLESS:
        with pytest.raises(NotApplicable, match=f"^{MEANINGLESS[family, method]}$"):
            find(method)().apply(model, context(model))
        return
    changed = find(method)().apply(fresh(model), context(model))
    assert storage.signature(changed, PrecisionPlan()) != storage.signature(model, PrecisionPlan())
    assert not torch.equal(logits(changed), logits(model))
    storage.save(changed, tmp_path / "saved")
    loaded = storage.load(tmp_path / "saved")
    assert torch.equal(logits(loaded), logits(changed))
    assert storage.signature(loaded, PrecisionPlan()) == storage.signature(changed, PrecisionPlan())
    runtime = find_runtime("onnxruntime")
    runtime.lower(loaded, PrecisionPlan(), toy(8).batch([0, 1]), tmp_path / "lowered")
    session = runtime.open(tmp_path / "lowered", Target())
    given = np.concatenate([session.run(batch) for batch in toy(8).batches(4)])
    np.testing.assert_allclose(given, logits(changed), rtol=0, atol=2e-5)


@every_family
def test_cuts_go_together_learn_and_are_rounded(family: str, tmp_path: Path) -> None:
    model = model_of(family)
    changed, ctx = fresh(model), context(model)
    for name in ("layers", "heads", "neurons", "low_rank", "soft_labels", "finetune", "int8_dynamic"):
        if (family, name) not in MEANINGLESS:
            changed = find(name)(**({"epochs": 1} if name == "finetune" else {})).apply(changed, ctx)
    assert logits(changed).isfinite().all()
    assert ctx.precision
    storage.save(changed, tmp_path)
    assert torch.equal(logits(storage.load(tmp_path)), logits(changed))


@pytest.mark.parametrize("family", [name for name in MODELS if name not in STUDENTS])
@pytest.mark.parametrize("importance", ["taylor", "l2"])
def test_heads_cut_out_equal_heads_silenced(family: str, importance: str) -> None:
    model = model_of(family)
    changed = find("heads")(keep=0.5, importance=importance).apply(fresh(model), context(model))
    dense = fresh(model)
    for before, after in zip(anatomy(model).attentions, anatomy(changed).attentions, strict=True):
        assert after.heads == before.heads // 2
        silence(dense, before.o, columns_left(model, changed, before))
    torch.testing.assert_close(logits(changed), logits(dense), rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", [name for name in MODELS if name not in STUDENTS])
def test_neurons_cut_out_equal_neurons_silenced(family: str) -> None:
    model = model_of(family)
    changed = find("neurons")(keep=0.5).apply(fresh(model), context(model))
    dense = fresh(model)
    for ffn in anatomy(model).ffns:
        left = [weight_OI(product(one, ffn.down)).T for one in (model, changed)]
        silence(dense, ffn.down, found_in(*left))
        assert features(product(changed, ffn.down))[0] == 32
    torch.testing.assert_close(logits(changed), logits(dense), rtol=0, atol=1e-5)


def test_layers_that_are_one_module_run_fewer_times() -> None:
    model = model_of("albert")
    changed = find("layers")(keep=0.5).apply(fresh(model), context(model))
    assert changed.config.num_hidden_layers == 2
    assert sum(p.numel() for p in changed.parameters()) == sum(p.numel() for p in model.parameters())
    with pytest.raises(NotApplicable, match="the layers are one module"):
        find("layers")(keep=0.5, strategy="contribution").apply(model, context(model))


def test_the_table_of_positions_goes_to_the_first_layer_that_is_left() -> None:
    """Of an encoder and a decoder, each loses its share; T5's first layers hold what all of them read."""
    model = model_of("t5")
    changed = find("layers")(keep=0.5, strategy="bottom").apply(fresh(model), context(model))
    for stack in ("encoder", "decoder"):
        old, new = (one.get_submodule(f"transformer.{stack}.block") for one in (model, changed))
        assert len(new) == 2
        table = new[0].layer[0].SelfAttention.relative_attention_bias
        assert torch.equal(table.weight, old[0].layer[0].SelfAttention.relative_attention_bias.weight)
        assert [block.layer[0].SelfAttention.layer_idx for block in new] == [0, 1]
    assert (changed.config.num_layers, changed.config.num_decoder_layers) == (2, 2)


def test_which_layers_see_a_window_goes_along_with_them() -> None:
    model = model_of("qwen2")
    kinds = model.config.layer_types
    changed = find("layers")(keep=0.5, strategy="bottom").apply(fresh(model), context(model))
    assert changed.config.layer_types == kinds[2:] != kinds[:2]


def test_a_parameter_of_two_names_is_stored_once_and_has_them_again(tmp_path: Path) -> None:
    model = model_of("llama")
    layers = model.get_submodule("model.layers")
    layers[3].mlp.up_proj.weight = layers[0].mlp.up_proj.weight
    storage.save(model, tmp_path)
    said = json.loads((tmp_path / "structure.json").read_text())
    assert said["ties"] == {"model.layers.3.mlp.up_proj.weight": "model.layers.0.mlp.up_proj.weight"}
    loaded = storage.load(tmp_path)
    again = loaded.get_submodule("model.layers")
    assert again[3].mlp.up_proj.weight is again[0].mlp.up_proj.weight
    assert torch.equal(logits(loaded), logits(model))


def columns_left(model: nn.Module, changed: nn.Module, attention: Attention) -> Tensor:
    """Which columns of the output projection are in the changed one too."""
    return found_in(*(weight_OI(product(one, attention.o)).T for one in (model, changed)))


def found_in(rows: Tensor, others: Tensor) -> Tensor:
    """A flag a row: whether it is one of the others."""
    held = {row.numpy().tobytes() for row in others.contiguous()}
    return torch.tensor([row.numpy().tobytes() in held for row in rows.contiguous()])


def silence(model: nn.Module, path: str, kept: Tensor) -> None:
    with torch.no_grad():
        weight_OI(product(model, path))[:, ~kept] = 0
