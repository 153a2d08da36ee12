"""Save and load without replaying methods."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import context, every_family, fresh, tiny, toy
from torch import nn
from transformers import AutoModelForSequenceClassification

from autocompress.errors import ConfigError
from autocompress.methods.decomposition.low_rank import LowRank
from autocompress.methods.pruning.heads import Heads
from autocompress.methods.pruning.layers import Layers
from autocompress.methods.pruning.neurons import Neurons
from autocompress.models import storage
from autocompress.models.precision_plan import Precision, PrecisionPlan
from autocompress.tasks.dataset import inputs


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(**inputs(toy(8).batch(list(range(8))))).logits


@every_family
def test_a_stock_shape_loads_with_plain_transformers(family, tmp_path):
    ctx = context(tiny(family))
    changed = Neurons().apply(Layers(strategy="alternate").apply(tiny(family), ctx), ctx)
    storage.save(changed, tmp_path)
    assert json.loads((tmp_path / "structure.json").read_text()) == {"format": 2, "modules": {}}
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert type(plain) is type(changed)
    assert torch.equal(logits(plain), logits(changed))
    assert torch.equal(logits(storage.load(tmp_path)), logits(changed))


def test_a_bare_encoder_is_described_too(tmp_path):
    encoder = tiny().bert
    encoder.config.architectures = ["SomethingElse"]
    changed = LowRank(scope="ffn").apply(encoder, context(tiny()))
    storage.save(changed, tmp_path)
    ids = torch.arange(10, 20)[None]
    with torch.no_grad():
        assert torch.equal(storage.load(tmp_path)(ids)[0], changed(ids)[0])


def test_describe_says_what_changed_and_no_more():
    ctx = context(tiny())
    changed = LowRank(scope="ffn").apply(Heads().apply(tiny(), ctx), ctx)
    described = storage.describe(changed)
    assert len(described["modules"]) == 4 * 4 + 4 * 2
    assert described["modules"]["bert.encoder.layer.0.attention.self.query"] == {
        "kind": "linear", "in": 32, "out": 16, "bias": True,
    }  # fmt: skip
    assert described["modules"]["bert.encoder.layer.3.output.dense"] == {
        "kind": "low_rank", "in": 64, "out": 32, "rank": 10, "bias": True,
    }  # fmt: skip
    changed.config.architectures = ["BertForSequenceClassification"]
    built = storage.build(changed.config, described)
    assert built.bert.encoder.layer[0].attention.self.num_attention_heads == 2
    assert built.bert.encoder.layer[0].attention.self.all_head_size == 16


def test_describe_refuses_what_it_cannot_say():
    model = tiny()
    model.classifier = nn.Sequential(nn.Linear(32, 3), nn.Linear(3, 3))
    with pytest.raises(TypeError, match="no kind for the way in which this BertForSequenceClassification was changed"):
        storage.describe(model)


def test_loaded_weights_are_trainable_and_buffers_are_real(tmp_path):
    storage.save(tiny(), tmp_path)
    loaded = storage.load(tmp_path)
    assert not loaded.training
    assert all(p.requires_grad and not p.is_meta for p in loaded.parameters())
    expected = dict(tiny().named_buffers())
    assert expected
    assert all(torch.equal(b, expected[name]) for name, b in loaded.named_buffers())


def saved(folder: Path, **changes: object) -> Path:
    """A folder whose structure.json is tampered with."""
    storage.save(tiny(), folder)
    (folder / "structure.json").write_text(json.dumps({"format": 2, "modules": {}} | changes))
    return folder


LINEAR = {"kind": "linear", "in": 32, "out": 32, "bias": True}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": 3}, "structure.json: this autocompress reads formats 1 and 2. Got 3."),
        ({"modules": {"bert.nowhere": LINEAR}}, "structure.json: a bert model has no linear layer 'bert.nowhere'."),
        ({"modules": {"bert.encoder": LINEAR}}, "structure.json: a bert model has no linear layer 'bert.encoder'."),
        (
            {"modules": {"classifier": LINEAR | {"kind": "pickle"}}},
            "structure.json: classifier should be of a known kind (attention, embedding, factorized_embedding, "
            "kronecker, linear, low_rank, mapped_embedding, norm, tensor_train, transposed, truncation) with sizes "
            "above 0. "
            "Got {'bias': True, 'in': 32, 'kind': 'pickle', 'out': 32}.",
        ),
        (
            {"modules": {"classifier": LINEAR | {"out": -1}}},
            "structure.json: classifier should be of a known kind (attention, embedding, factorized_embedding, "
            "kronecker, linear, low_rank, mapped_embedding, norm, tensor_train, transposed, truncation) with sizes "
            "above 0. "
            "Got {'bias': True, 'in': 32, 'kind': 'linear', 'out': -1}.",
        ),
    ],
)
def test_a_structure_that_makes_no_sense_is_refused_in_one_sentence(changes, sentence, tmp_path):
    with pytest.raises(ConfigError) as caught:
        storage.load(saved(tmp_path, **changes))
    assert str(caught.value) == sentence


def test_weights_that_do_not_fit_are_refused(tmp_path):
    folder = saved(tmp_path, modules={"classifier": LINEAR})
    with pytest.raises(ConfigError, match=r"does not fit structure.json and config.json. size mismatch for classifier"):
        storage.load(folder)


def test_config_that_names_no_model_is_refused(tmp_path):
    storage.save(tiny(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["logging"]}))
    with pytest.raises(
        ConfigError, match=r"^config.json: architectures should name a transformers model. Got 'logging'"
    ):
        storage.load(tmp_path)


def test_signature_sees_shapes_dtypes_and_the_plan_but_no_values():
    model, plan = tiny(), PrecisionPlan()
    same = fresh(model)
    nn.init.zeros_(same.classifier.weight)
    cut = Layers().apply(fresh(model), context(model))
    planned = PrecisionPlan({"classifier": Precision("int8")})
    assert storage.signature(same, plan) == storage.signature(model, plan)
    others = [(cut, plan), (fresh(model).half(), plan), (model, planned)]
    assert len({storage.signature(model, plan), *(storage.signature(*other) for other in others)}) == 4
