"""A whole project that a search learns in seconds: a checkpoint of 2 layers x 32, three csv files, a space."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

WORDS = ["tree", "river", "stone", "cloud", "house", "light", "green", "small", "walks", "sings"]
MARKS = {"sour": ["lemon", "vinegar"], "sweet": ["honey", "sugar"]}

SPACE = """\
model: ./model
teacher: {finetune: {epochs: 4, lr: 1e-2, freeze_embeddings: false}}
task:
  data: {train: train.csv, validation: validation.csv, test: test.csv}
  max_length: 16
target: {runtime: onnxruntime, threads: 1, sequence_length: 16}
constraints:
  - score >= 0.5 * baseline
  - size_mb <= 0.95 * baseline
search: {trials: 4, variants: 0, confirm: {top: 0}}
anchors:
  - [layers: {keep: 0.5}, finetune, int8_dynamic]
steps:
  - one_of: [skip, layers: {keep: 0.5}, neurons: {keep: [0.25, 0.5], multiple: 8}]
  - one_of: [skip, soft_labels]
  - finetune: {epochs: 2, lr: {low: 1e-3, high: 1e-2, log: true}, freeze_embeddings: false}
  - one_of: [skip, int8_dynamic]
"""


def make_project(folder: Path, space: str = SPACE) -> Path:
    """Write model/, the three csv files and space.yaml into `folder`; returns the path of the space."""
    _checkpoint(folder / "model")
    rng = random.Random(0)
    for split, count in {"train": 128, "validation": 64, "test": 32}.items():
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(_row(rng, label) for label in ["sour", "sweet"] * (count // 2))
    (folder / "space.yaml").write_text(space)
    return folder / "space.yaml"


def train_checkpoint(space: Path, labels: Sequence[str] = ("sour", "sweet"), order: Sequence[int] = (0, 1)) -> None:
    """Let model/ beside `space` know the task: row i of its head is class `order[i]`, called `labels[i]`."""
    folder = space.parent / "model"
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    names = dict(enumerate(labels))
    numbers = {name: row for row, name in names.items()}
    model = BertForSequenceClassification.from_pretrained(folder, id2label=names, label2id=numbers)
    with (space.parent / "train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    fields = tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
    classes = torch.tensor([order.index(["sour", "sweet"].index(row["label"])) for row in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(15):
        model(**fields, labels=classes).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval().save_pretrained(folder)


def _row(rng: random.Random, label: str) -> tuple[str, str]:
    words = rng.choices(WORDS, k=rng.randint(3, 9))
    words.insert(rng.randrange(len(words)), rng.choice(MARKS[label]))
    return " ".join(words), label


def _checkpoint(folder: Path) -> None:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *MARKS["sour"], *MARKS["sweet"]]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, "[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"], model_max_length=32,
    )  # fmt: skip
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.2,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
