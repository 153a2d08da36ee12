"""The students of our own: their files from before, and what methods do to their matrices in every runtime."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import context, toy
from test_families import logits, model_of
from torch import nn

from autocompress.machine.instructions import has_vnni
from autocompress.methods.context import Context
from autocompress.models import storage
from autocompress.models.loading import load_model
from autocompress.models.students.layers import read_whole
from autocompress.runtimes.runtime import find_runtime
from autocompress.space.method import find
from autocompress.space.settings import Target
from autocompress.tasks.dataset import inputs

STORED = Path(__file__).parent / "stored" / "students-1"
SHAPES = ("bilstm", "gru", "cnn")
LOWERED = {
    "dense": [], "int8_dynamic": ["int8_dynamic"], "int8_static": ["int8_static"],
    "gptq": [("weight_only", {"bits": 4, "algorithm": "gptq"})],
    "awq": [("weight_only", {"bits": 8, "algorithm": "awq"})],
    "low rank, rounded": ["low_rank", "int8_dynamic"], "tensor train": [("tensor_train", {"rank": 4, "scope": "all"})],
    "kronecker": [("kronecker", {"scope": "all"})], "shared": ["cross_layer", "half"],
    "codebook": [("codebook", {"bits": 4})],
    "ternary": ["ternary", "finetune"], "qat": ["qat", "finetune"], "mixed": ["mixed_precision"],
}  # fmt: skip

NO_KERNELS = {"codebook", "ternary"} | (set() if has_vnni() else {"int8_dynamic", "low rank, rounded", "mixed"})


@pytest.mark.parametrize("shape", SHAPES)
def test_files_from_before_their_layers_were_linear_give_what_they_gave(shape: str) -> None:
    expected = json.loads((STORED / "expected.json").read_text())
    given = {name: torch.tensor(expected[name]) for name in ("input_ids", "attention_mask")}
    for model in (storage.load(STORED / shape), load_model(str(STORED / shape), ("LABEL_0", "LABEL_1", "LABEL_2"))):
        with torch.no_grad():
            after = model.eval()(**given).logits
        torch.testing.assert_close(after, torch.tensor(expected["logits"][shape]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", ["lstm", "gru", "cnn", "bag of words"])
def test_units_that_nothing_reads_are_those_that_go(shape: str, tmp_path: Path) -> None:
    """A quarter of the embeddings and of each part of a layer; the rest answers as before, and is of a stock shape."""
    model, generator = model_of(shape), torch.Generator().manual_seed(0)
    read = [layer.readers() for layer in getattr(model, "layers", [])] + [[(model.classifier, 1)]]
    for i, products in enumerate(read):
        parts = (3 if shape == "cnn" else 2) if i else 1  # of the embeddings, then of a layer
        each = products[0][0].in_features // products[0][1] // parts
        gone = [torch.randperm(each, generator=generator)[: each // 4] + part * each for part in range(parts)]
        for product, tokens in products:
            for token in range(tokens):
                product.weight.data[:, torch.cat(gone) + token * each * parts] = 0
        if parts == 2:  # a recurrent layer's units are read by itself too
            for way, product in enumerate(list(model.layers[i - 1].children())[1::2]):
                product.weight.data[:, gone[way] - way * each] = 0
    changed = find("hidden")(keep=0.75, importance="l2").apply(copy.deepcopy(model), context(model))
    torch.testing.assert_close(logits(changed), logits(model), rtol=0, atol=1e-6)
    assert changed.config.hidden_size == 24
    storage.save(changed, tmp_path)
    assert json.loads((tmp_path / "structure.json").read_text())["modules"] == {}
    assert torch.equal(logits(storage.load(tmp_path)), logits(changed))
    if shape in ("lstm", "gru"):  # any layer of it can go
        assert logits(find("layers")(keep=0.5, strategy="top").apply(changed, context(model))).isfinite().all()


@pytest.mark.parametrize("shape", ["lstm", "gru"])
def test_who_watches_a_recurrence_sees_what_its_matrices_met(shape: str) -> None:
    """Padding and all, as torch's own loop over the tokens would have shown."""
    layer, seen = model_of(shape).layers[0], {}
    for name, product in layer.named_children():
        product.register_forward_pre_hook(lambda module, args, name=name: seen.update({name: args[0]}))
    x_BTD = torch.randn(2, 5, 32)
    ahead_BTH, back_BTH = layer(x_BTD).detach().chunk(2, -1)
    first = torch.zeros(2, 1, 16)
    assert torch.equal(seen["forward_input"], x_BTD)
    assert torch.equal(seen["backward_input"], x_BTD)
    torch.testing.assert_close(seen["forward_state"], torch.cat([first, ahead_BTH[:, :-1]], 1))
    torch.testing.assert_close(seen["backward_state"], torch.cat([back_BTH[:, 1:], first], 1))


def compressed(shape: str, steps: list[Any], ctx: Context) -> nn.Module:
    model = model_of(shape)
    for step in steps:
        name, knobs = (step, {"epochs": 1} if step == "finetune" else {}) if isinstance(step, str) else step
        model = find(name)(**knobs).apply(model, ctx)
    return model.eval()


def lowered(shape: str, name: str, runtime: str, folder: Path) -> tuple[float, int]:
    """How far from what the plan says its answers are, as a share of their range, and the file's bytes."""
    ctx, chosen, target = context(model_of(shape)), find_runtime(runtime), Target(runtime=runtime)
    model = compressed(shape, LOWERED[name], ctx)
    chosen.support(ctx.precision, target)
    chosen.lower(model, ctx.precision, toy(8).batch([0, 1]), folder)
    storage.save(model, folder)  # the torch runtime reads its structure
    session, artefact = chosen.open(folder, target), chosen.artefact(folder)
    given = np.concatenate([session.run(inputs(batch)) for batch in toy(8).batches(4)])
    expected = logits(chosen.simulate(model, ctx.precision)).numpy()
    files = [artefact] if artefact.is_file() else list(artefact.rglob("*"))
    return float(np.abs(given - expected).max() / np.ptp(expected)), sum(file.stat().st_size for file in files)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch"])
@pytest.mark.parametrize("shape", ["lstm", "gru", "cnn"])
def test_every_runtime_computes_what_the_plan_says(shape: str, runtime: str, tmp_path: Path) -> None:
    off, sizes = {}, {}
    left_out = (NO_KERNELS if runtime == "openvino" else set()) | ({"shared"} if shape == "cnn" else set())  # one layer
    for name in LOWERED.keys() - left_out:
        off[name], sizes[name] = lowered(shape, name, runtime, tmp_path / name)
    rounds_inputs = {"int8_dynamic", "int8_static", "gptq", "low rank, rounded", "qat", "mixed"}
    assert not {name: error for name, error in off.items() if error > (0.04 if name in rounds_inputs else 1e-4)}
    whole = 4 * sum(p.numel() for p in model_of(shape).parameters())
    assert sizes["dense"] - sizes["gptq"] > 0.5 * whole


def test_only_recurrences_read_their_matrices_whole() -> None:
    assert {path.split(".")[2] for path in read_whole(model_of("lstm"))} == {
        "forward_input", "forward_state", "backward_input", "backward_state",
    }  # fmt: skip
    assert not read_whole(model_of("cnn"))
