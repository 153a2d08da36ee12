"""What a model can read is asked of the model, and what does not fit is said before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import FAMILIES, tiny
from test_other_models import llama, t5
from tiny_project import SPACE
from tiny_tables import tokenizer
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BartConfig,
    BartForSequenceClassification,
    OPTConfig,
    OPTForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

import autocompress
from autocompress.errors import ConfigError
from autocompress.models.input_limits import Limits, check, fit, limits_of
from autocompress.space.settings import Target, TaskSettings
from autocompress.study import Study
from autocompress.trials import bench, work

TASK = TaskSettings(data={"train": "a.csv"}, text=("text", "other"), max_length=64)


def bart() -> nn.Module:
    sizes: dict[str, Any] = {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "ffn_dim")}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    return BartForSequenceClassification(
        BartConfig(
            vocab_size=60, d_model=8, max_position_embeddings=40, eos_token_id=3, pad_token_id=0, **sizes, **heads
        )
    )


def opt() -> nn.Module:
    sizes: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 8}
    return OPTForSequenceClassification(
        OPTConfig(vocab_size=60, max_position_embeddings=40, word_embed_proj_dim=8, **sizes)
    )


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda: tiny("bert"), Limits(40, 60, 2, reads_types=True)),
        (lambda: tiny("roberta"), Limits(38, 60, 2, reads_types=True)),  # 40 rows, of which two come before the first
        (lambda: tiny("xlm-roberta"), Limits(38, 60, 2, reads_types=True)),
        (lambda: tiny("distilbert"), Limits(40, 60, None, reads_types=False)),
        (opt, Limits(40, 60, None, reads_types=False)),
        (bart, Limits(40, 60, None, reads_types=False)),
        (llama, Limits(None, 60, None, reads_types=False)),  # positions are rotations
        (t5, Limits(None, 60, None, reads_types=False)),  # and here distances
    ],
)
def test_the_model_says_what_it_reads(model: Any, expected: Limits) -> None:
    assert limits_of(model(), tokenizer()) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_of_the_limit_is_read_and_one_token_more_is_not(family: str) -> None:
    model = tiny(family)
    most = limits_of(model, tokenizer()).tokens
    assert most
    with torch.no_grad():
        model(torch.full((1, most), 10))
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, most + 1), 10))


def test_the_tokenizer_states_what_every_model_reads() -> None:
    words = tokenizer()
    assert words.model_max_length > 1e20
    fit(words, [Limits(40, 60, 2, reads_types=True), Limits(None, 60, 2, reads_types=True)])
    assert (words.model_max_length, "token_type_ids" in words.model_input_names) == (40, True)
    fit(words, [Limits(50, 60, 1, reads_types=True)])
    assert (words.model_max_length, "token_type_ids" in words.model_input_names) == (40, False)


def test_every_mistake_is_said_at_once() -> None:
    words = tokenizer(model_max_length=32)
    words.add_tokens(["<new>"])
    limits = Limits(None, 8, 1, reads_types=True)
    with pytest.raises(ConfigError) as error:
        check(words, {"model": limits}, Target(sequence_length=33), TASK)
    assert str(error.value).split("\n") == [
        "model: its tokenizer must give no token that the model has no row for, and it has 8 rows. Got 1 such tokens, "
        "the first '<new>' with the number 8. Call model.resize_token_embeddings(len(tokenizer)), train it on, and "
        "save both again.",
        "model: its tokenizer must give token types that the model has, which are 0 to 0. Got 1. "
        "Save the tokenizer that the model was trained with beside it.",
        "task.max_length: must be at most 32, which is what this model reads. Got 64.",
        "target.sequence_length: must be at most 32, which is what this model reads. Got 33.",
    ]


def unlimited(project: Path) -> None:
    """The tokenizer states no limit: transformers then says 1e30."""
    file = project.parent / "model" / "tokenizer_config.json"
    said = json.loads(file.read_text())
    del said["model_max_length"]
    file.write_text(json.dumps(said))


def test_no_text_is_longer_than_the_table_of_positions(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited(project)
    project.write_text(SPACE.replace("  max_length: 16\n", "").replace("sequence_length: 16", "sequence_length: 33"))
    monkeypatch.setattr(bench.Bench, "_teach", lambda *a: pytest.fail("something was trained"))
    with pytest.raises(ConfigError) as error:
        autocompress.search(project)
    assert str(error.value).split("\n") == [
        "task.max_length: must be at most 32, which is what this model reads. Got 128, the default.",
        "target.sequence_length: must be at most 32, which is what this model reads. Got 33.",
    ]


def test_long_texts_are_cut_wherever_they_come_from(project: Path) -> None:
    unlimited(project)
    for split in ("train", "validation", "test"):
        file = project.parent / f"{split}.csv"
        head, *rows = file.read_text().splitlines()
        longer = rows if split == "train" else [row.replace(",", " tree river stone" * 20 + ",") for row in rows]
        file.write_text("\n".join([head, *longer]) + "\n")
    project.write_text(SPACE.replace("max_length: 16", "max_length: 32").replace("epochs: 4", "epochs: 8"))
    study = autocompress.search(project, trials=1)
    out = study.export("out")
    text = "honey tree " * 50
    assert autocompress.pipeline(out)(text)[0]["label"] in ("sour", "sweet")
    words = AutoTokenizer.from_pretrained(out)
    assert words.model_max_length == 32
    read = words(text, truncation=True, return_tensors="pt")
    assert autocompress.load(out)(**read).logits.shape == (1, 2)
    assert AutoModelForSequenceClassification.from_pretrained(out)(**read).logits.shape == (1, 2)


def test_types_are_not_given_to_a_model_that_has_one(project: Path) -> None:
    """A tokenizer that marks the second text, and a model without a row for the mark."""
    folder = project.parent
    words = AutoTokenizer.from_pretrained(folder / "model")
    config = RobertaConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=40, type_vocab_size=1, pad_token_id=0,
    )  # fmt: skip
    RobertaForSequenceClassification(config).save_pretrained(folder / "model")
    for split in ("train", "validation", "test"):
        head, *rows = (folder / f"{split}.csv").read_text().splitlines()
        (folder / f"{split}.csv").write_text("\n".join([f"other,{head}", *(f"tree,{row}" for row in rows)]) + "\n")
    project.write_text(SPACE.replace("  max_length", "  text: [other, text]\n  max_length"))
    task = work.bench_of(Study.create(project).data).task
    assert task.train.fields.keys() == {"input_ids", "attention_mask"}
    task.tokenizer.save_pretrained(folder / "exported")
    assert "token_type_ids" not in AutoTokenizer.from_pretrained(folder / "exported").model_input_names
