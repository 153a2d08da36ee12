"""A decoder that a search learns in seconds: a GPT-2 of 3 layers x 32 over words, and texts that count through them."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ["tree", "river", "stone", "cloud", "house", "light", "green", "small", "walks", "sings", "honey", "lemon"]
END, PAD, UNKNOWN = 0, 1, 2
POSITIONS = 32

SPACE = """\
model: ./model
teacher: {finetune: {epochs: 8, lr: 1e-2, freeze_embeddings: false}}
task:
  kind: causal-lm
  data: {train: train.csv, validation: validation.csv, test: test.csv}
  max_length: 16
target: {runtime: onnxruntime, threads: 1, sequence_length: 16}
objectives: {score: maximize, latency_ms: minimize, token_latency_ms: minimize}
constraints:
  - score >= 0.3 * baseline
  - token_latency_ms <= 5 * baseline
search: {trials: 4, variants: 0, confirm: {top: 0}}
anchors:
  - [layers: {keep: 0.67}, soft_labels, finetune, int8_dynamic]
  - [low_rank: {keep: 0.5}, hidden_states, finetune]
steps:
  - one_of: [skip, layers: {keep: 0.67}, low_rank: {keep: 0.5}]
  - one_of: [skip, soft_labels, hidden_states]
  - finetune: {epochs: 2, lr: {low: 1e-3, high: 1e-2, log: true}, freeze_embeddings: false}
  - one_of: [skip, int8_dynamic]
"""


def gpt2() -> nn.Module:
    torch.manual_seed(0)
    return _roughened(GPT2LMHeadModel(GPT2Config(
        vocab_size=len(WORDS) + 3, n_embd=32, n_layer=3, n_head=4, n_positions=POSITIONS, bos_token_id=END,
        eos_token_id=END, pad_token_id=PAD, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )))  # fmt: skip


def llama(**more: object) -> nn.Module:
    """4 heads, which share 2 of keys and values."""
    torch.manual_seed(0)
    return _roughened(LlamaForCausalLM(LlamaConfig(**{
        "vocab_size": len(WORDS) + 3, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 64, "bos_token_id": END,
        "eos_token_id": END, "pad_token_id": PAD, "tie_word_embeddings": True, **more,
    })))  # fmt: skip


def _roughened(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for p in model.parameters():  # as made, layers change next to nothing
            p.add_(0.1 * torch.randn_like(p))
    return model.eval()


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate(["<end>", "<pad>", "<unk>", *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", eos_token="<end>", model_max_length=POSITIONS,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def texts(count: int, seed: int) -> list[str]:
    """From any word on, one by one or in steps of two: the first two words of a text tell all others."""
    rng = random.Random(seed)
    return [
        " ".join(WORDS[(start + step * i) % len(WORDS)] for i in range(rng.randint(4, 12)))
        for start, step in ((rng.randrange(len(WORDS)), rng.choice((1, 2))) for _ in range(count))
    ]


def make_project(folder: Path, space: str = SPACE) -> Path:
    """Write model/, three csv files without labels and space.yaml into `folder`; returns the path of the space."""
    gpt2().save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    for seed, (split, count) in enumerate({"train": 192, "validation": 48, "test": 32}.items()):
        with (folder / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["text"], *([text] for text in texts(count, seed))])
    (folder / "space.yaml").write_text(space)
    return folder / "space.yaml"
