"""Where a model comes from: the hub, a folder, or `builtin/minilm`. Weights are safetensors; a model brings no code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autocompress.errors import ConfigError, foreign, reason
from autocompress.machine import cache
from autocompress.machine.entries import sha256
from autocompress.machine.silence import quiet
from autocompress.models.decoders.decoding import reads_ahead
from autocompress.models.hub import FILES, builtin, download
from autocompress.models.input_limits import Limits, limits_of
from autocompress.models.students import know_configs, students
from autocompress.models.students.older import fill_layers
from autocompress.space import keys
from autocompress.space.settings import find_task_kind, task_kinds
from autocompress.tasks import label_names
from autocompress.tasks.kind import NEXT_TOKEN_HEAD
from autocompress.tasks.kind import has_head as has_head_of
from autocompress.tasks.tokenization import padding

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_VOCABULARIES = ["tokenizer.json", "vocab.txt", "vocab.json", "*.model"]


def locate(model: str, root: Path) -> str:
    """The folder of a model: `builtin/minilm`, a local checkpoint seen from `root`, or a hub id, which is downloaded.

    Raises `ConfigError` if there is no such model, or its weights are no safetensors.
    """
    if model.startswith("builtin/"):
        return builtin(model)
    folder = (root / Path(model).expanduser()).resolve()
    if not folder.is_dir() and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise ConfigError(
            f"model: must be a folder that exists, or a hub id like namespace/name. Got {model!r}, that is {folder}."
        )
    folder = folder if folder.is_dir() else download(model)
    for needed, what in (("config.json", "a config.json"), ("*.safetensors", "weights in safetensors")):
        if not any(folder.glob(needed)):
            raise ConfigError(
                f"model: a checkpoint must have {what}. Got {model!r}, which has none. "
                "Write one with model.save_pretrained and tokenizer.save_pretrained."
            )
    return str(folder)


@contextmanager
def said_of(key: str) -> Iterator[None]:
    """What is wrong with a checkpoint is said of the key that names it."""
    try:
        yield
    except ConfigError as e:
        raise ConfigError(str(e).replace("model:", f"{key}:", 1)) from e


def checkpoint(name: str, root: Path) -> str:
    """The same for one that a step of a recipe reads."""
    with said_of("steps"):
        return locate(name, root)


def identity(source: str) -> str:
    """Equal identities, equal checkpoints: sha256 over the files of the folder that `locate` gave."""
    files = sorted(file for pattern in FILES for file in Path(source).glob(pattern))
    return hashlib.sha256("".join(f"{file.name} {sha256(file)}\n" for file in files).encode()).hexdigest()


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """The checkpoint's fast tokenizer. Raises `ConfigError` if it has none."""
    from transformers import AutoTokenizer

    if not any(file for pattern in _VOCABULARIES for file in Path(source).glob(pattern)):
        raise ConfigError(  # transformers would make one that knows no words
            f"model: must hold a tokenizer. Got {source!r}, which has none of {', '.join(_VOCABULARIES)}. "
            "Write one with tokenizer.save_pretrained."
        )
    with quiet(), _readable(source, "a tokenizer"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise ConfigError(
            f"model: must have a fast tokenizer (tokenizer.json). Got {type(tokenizer).__name__} in {source!r}."
        )
    return tokenizer


SEQUENCE = "SequenceClassification"  # the usual head


def head_labels(source: str, head: str = SEQUENCE) -> tuple[str, ...] | None:
    """What the rows of the checkpoint's head are called; None if it was saved without one of this kind."""
    config = _config(source)
    made_for = config.architectures or []
    if not any(has_head_of(name, head) for name in made_for):
        return None
    return tuple(str(config.id2label[row]) for row in sorted(config.id2label))


def has_head(source: str, labels: tuple[str, ...], head: str = SEQUENCE) -> bool:
    """Whether the checkpoint's head is for as many labels, and what it calls them does not contradict these names."""
    theirs = head_labels(source, head)
    return theirs is not None and label_names.agree(theirs, labels)


def own_labels(source: str) -> tuple[str, ...]:
    """The labels of the checkpoint's own head; two, if it has none and one is to be drawn."""
    return head_labels(source) or ("0", "1")


def own_head(source: str) -> tuple[str, tuple[str, ...]]:
    """The head that a checkpoint was saved with, of those that there are tasks for, and its labels; else the usual one.

    A head that says which token comes next has no labels.
    """
    heads = dict.fromkeys(find_task_kind(kind).head for kind in task_kinds())
    head = next((head for head in heads if head_labels(source, head) is not None), SEQUENCE)
    return head, () if head == NEXT_TOKEN_HEAD else head_labels(source, head) or own_labels(source)


def limits(source: str, tokenizer: PreTrainedTokenizerBase) -> Limits:
    """How long a text the checkpoint can read, and which ids and types. Found out once for every study of it."""

    def ask() -> dict[str, Any]:
        return limits_of(load_model(source, own_labels(source)), tokenizer).dump()

    return Limits(**cache.value("limits", keys.limits(identity(source)), ask))


def load_model(source: str, labels: tuple[str, ...], head: str = SEQUENCE, *, new_head: bool = False) -> nn.Module:
    """The checkpoint in float32 with a head whose row i is `labels[i]`. `head`: which of transformers' heads.

    A head it has is kept if its names agree with ours, or say nothing, and its rows are put into our order; else, or
    with `new_head`, the layer that gives the labels is drawn anew, from torch's generator: seed that first. Raises
    `ConfigError` for what cannot be loaded. A head that says which token comes next has no labels, and is kept.
    """
    import transformers

    students()
    config, theirs = _config(source), head_labels(source, head)
    same_count = theirs is not None and len(theirs) == len(labels)
    order = label_names.rows(theirs, labels) if theirs else None
    if labels:
        config.id2label, config.label2id = dict(enumerate(labels)), {name: i for i, name in enumerate(labels)}
    if head == SEQUENCE:  # who loads an export reads off it how logits become labels
        config.problem_type = "single_label_classification"
    if config.pad_token_id is None:  # decoders find a text's last token by it
        config.pad_token_id = padding(load_tokenizer(source))["input_ids"]
    options = {"use_safetensors": True, "trust_remote_code": False, "ignore_mismatched_sizes": not same_count}
    with quiet(), _readable(source, f"a model for {head}" if head != SEQUENCE else "a text classifier"):
        model, report = getattr(transformers, f"AutoModelFor{head}").from_pretrained(
            source, config=config, dtype=torch.float32, output_loading_info=True, **options
        )
    if report["missing_keys"] and type(model).__name__ in students():
        fill_layers(model, Path(source))
    _check_body(source, model, report)
    if head == NEXT_TOKEN_HEAD:
        _check_forward(source, model)
    elif same_count and (new_head or not has_head(source, labels, head)):
        _draw_head(model, len(labels))
    elif order and order != sorted(order):
        _reorder_head(model, order)
    return model  # type: ignore[no-any-return]


def _config(source: str) -> Any:
    from transformers import AutoConfig

    know_configs()
    with quiet(), _readable(source, "a config.json that transformers knows"):
        return AutoConfig.from_pretrained(source, trust_remote_code=False)


def _head(model: nn.Module, labels: int) -> nn.Linear:
    """The last linear layer with one row a label, which gives the labels in every model family."""
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return [linear for linear in linears if linear.out_features == labels][-1]


def _draw_head(model: nn.Module, labels: int) -> None:
    """As transformers draws a new one, which leaves alone what it has loaded."""
    head = _head(model, labels)
    config: Any = model.config
    nn.init.normal_(head.weight, std=getattr(config, "initializer_range", 0.02))
    if head.bias is not None:
        nn.init.zeros_(head.bias)


def _reorder_head(model: nn.Module, order: list[int]) -> None:
    """Permute its rows."""
    with torch.no_grad():
        for parameter in _head(model, len(order)).parameters():
            parameter.copy_(parameter[order])


def _check_forward(source: str, model: nn.Module) -> None:
    """What sees the tokens that it is asked for learns nothing else than to look."""
    if reads_ahead(model):
        what = type(model).__name__
        raise ConfigError(
            f"model: must read texts from left to right. Got {source!r}, a {what}, which sees the tokens that follow. "
            "Take a model that continues texts, such as a GPT-2 or a Llama."
        )


def _check_body(source: str, model: nn.Module, report: dict[str, Any]) -> None:
    """A new head is expected. A body that is partly random, because weights and config.json disagree, is not."""
    drawn = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    body = sorted(key for key in drawn if key.startswith(f"{model.base_model_prefix}.") and "pooler" not in key)
    if body:
        raise ConfigError(
            f"model: the weights must fit the config.json beside them. Got {source!r}, where {len(body)} tensors are "
            f"missing or of another shape, the first {body[0]!r}. Save the checkpoint again."
        )


@contextmanager
def _readable(source: str, what: str) -> Iterator[None]:
    """What transformers raises for files it cannot use, as our sentence."""
    try:
        yield
    except BaseException as e:  # each of its models and tokenizers has its own
        if not foreign(e):
            raise
        raise ConfigError(f"model: must hold {what}. Got {source!r}: {reason(e)}.") from e
