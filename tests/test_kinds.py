"""A kind of module that only this file knows: found by lying in the folder, it goes wherever the others go."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny, toy
from torch import Tensor, nn

from autocompress.errors import ConfigError
from autocompress.models import kinds, storage
from autocompress.models.precision_plan import PrecisionPlan
from autocompress.models.surgery import replace
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.settings import Target
from autocompress.tasks.dataset import inputs

WINDOWED = '''
"""An activation without parameters that is cut off at a number."""

from torch import nn

PLACE = "activation"


class Clipped(nn.Module):
    def __init__(self, most):
        super().__init__()
        self.most = most

    def extra_repr(self):
        return f"most={self.most}"

    def forward(self, x_BTF):
        return nn.functional.gelu(x_BTF).clamp(max=self.most)


def describe(module):
    return {"most": module.most} if isinstance(module, Clipped) else None


def fits(stock):
    return "GELU" in type(stock).__name__


def make(entry, stock):
    return Clipped(entry["most"]) if entry.get("most", 0) > 0 else None
'''
PATH = "bert.encoder.layer.0.intermediate.intermediate_act_fn"


@pytest.fixture(autouse=True)
def folder_of_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "clipped.py").write_text(WINDOWED)
    monkeypatch.setattr(kinds, "__path__", [*kinds.__path__, str(tmp_path / "kinds")])


def clipped(most: float) -> nn.Module:
    model = tiny()
    replace(model, PATH, kinds.kinds()["clipped"].make({"most": most}, nn.GELU()))
    return model


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(**inputs(toy(8).batch(list(range(8))))).logits


def test_it_is_saved_and_built_again(tmp_path: Path) -> None:
    model = clipped(0.1)
    storage.save(model, tmp_path / "saved")
    said = json.loads((tmp_path / "saved" / "structure.json").read_text())
    assert said["modules"] == {PATH: {"kind": "clipped", "most": 0.1}}
    loaded = storage.load(tmp_path / "saved")
    assert torch.equal(logits(loaded), logits(model))
    assert not torch.equal(logits(loaded), logits(tiny()))


def test_it_is_exported(tmp_path: Path) -> None:
    runtime, model, batch = find_runtime("onnxruntime"), clipped(0.1), toy(8).batch(list(range(8)))
    runtime.lower(model, PrecisionPlan(), batch, tmp_path / "lowered")
    given = runtime.open(tmp_path / "lowered", Target()).run(batch)
    np.testing.assert_allclose(given, logits(model), rtol=0, atol=1e-5)


def test_its_latency_is_not_that_of_the_dense_model_though_it_has_no_parameters() -> None:
    plan = PrecisionPlan()
    models = (tiny(), clipped(0.1), clipped(0.2))
    assert len({storage.signature(model, plan) for model in models}) == 3


@pytest.mark.parametrize(
    ("entry", "path", "sentence"),
    [
        (
            {"kind": "clipped", "most": 0.1},
            "classifier",
            "structure.json: a bert model has no activation 'classifier'.",
        ),
        (
            {"kind": "clipped", "most": 0},
            PATH,
            f"structure.json: {PATH} should be of a known kind (attention, clipped, embedding, factorized_embedding, "
            "kronecker, linear, low_rank, mapped_embedding, norm, tensor_train, transposed, truncation) with sizes "
            "above 0. Got {'kind': 'clipped', 'most': 0}.",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(entry, path, sentence) -> None:
    with pytest.raises(ConfigError) as caught:
        kinds.make(tiny(), path, entry)
    assert str(caught.value) == sentence
