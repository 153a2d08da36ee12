"""A first space for a model, its data and limits, written with comments; its size fits the time there is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocompress.errors import ConfigError
from autocompress.planning import columns
from autocompress.planning.estimate import Estimate, estimate
from autocompress.planning.look import Look, look
from autocompress.planning.proposal import Offer, proposal
from autocompress.planning.sentences import duration
from autocompress.space.language.schema import schema
from autocompress.space.language.yaml_lines import to_flow, to_yaml
from autocompress.space.search_space import SearchSpace
from autocompress.space.settings import TaskSettings, find_task_kind, task_kinds

SCHEMA = "autocompress.schema.json"
_LEAST, _MOST = 8, 200  # trials of a search that can show anything, and after which a user would look again
_FEWEST = 500  # training texts
_SAID = {
    "model": "A hub id, a folder seen from this file, or builtin/minilm.",
    "task": "The texts, how they are read (longer ones are cut to max_length tokens), and how wishes are scored.",
    "target": "Where the model will run, and therefore where it is measured: one batch of these texts.",
    "constraints": "What a model must keep to; baseline is the uncompressed model, fine-tuned, on the same target.",
    "search": "`trials` are recipes that are trained; those that break a limit before training cost nothing.",
    "steps": "From top to bottom; one_of chooses one of its options. `autocompress methods NAME` tells of each.",
}


@dataclass(frozen=True)
class Wishes:
    """To the five questions, and what may be said besides."""

    model: str
    data: str  # a training file, or a data set's name
    speedup: float  # at least so many times as fast; 1: no limit
    seconds: float  # that the search may take
    device: str = "cpu"
    threads: int = 1
    keep: float = 0.97  # of the score
    size: float | None = None  # of the baseline's megabytes, at most
    validation: str = ""
    test: str = ""
    text: tuple[str, ...] = ()
    label: str = ""


@dataclass(frozen=True)
class First:
    """The YAML, and what is known of a search of it."""

    yaml: str
    space: SearchSpace
    estimate: Estimate


def first(wishes: Wishes, root: Path, say: Callable[[str], None]) -> First:
    """Look, propose, and fit it to the time. Paths are seen from `root`. Raises `ConfigError`."""
    sections: dict[str, Any] = {"model": wishes.model, "task": _task(wishes, root), "target": _target(wishes)}
    seen = look(sections, root, say)
    sections["task"] |= {"max_length": seen.max_length} | ({"metric": "macro_f1"} if _uneven(sections, seen) else {})
    sections["target"] |= {"sequence_length": seen.sequence_length}
    sections["constraints"] = _limits(wishes)
    offers = proposal(seen, wishes.device, fast=wishes.speedup > 1, small=wishes.size is not None)
    sections["search"] = {"trials": _LEAST, "seed": 0}
    known = estimate(_space(sections, offers, root), say)
    offers = [offer for at, offer in enumerate(offers) if not _gone(at, offer, known)]
    fitted = _fit(sections, known, wishes.seconds)
    return First(_written(sections, offers, seen, known), _space(sections, offers, root), fitted)


def write(made: First, to: Path) -> None:
    """The file, and beside it the schema that lets editors complete it. Raises `ConfigError` if it is there."""
    check(to)
    to.parent.mkdir(parents=True, exist_ok=True)
    (to.parent / SCHEMA).write_text(json.dumps(schema(), indent=1) + "\n")
    to.write_text(made.yaml, encoding="utf-8")


def check(to: Path) -> None:
    """Nobody's file is written over."""
    if to.exists():
        raise ConfigError(f"--to: it should be a new file. Got {str(to)!r}, which is there. Give another name.")


def _task(wishes: Wishes, root: Path) -> dict[str, Any]:
    named = columns.splits(wishes.data) if not (wishes.validation or wishes.test) else {"train": wishes.data}
    more = {"validation": wishes.validation, "test": wishes.test}
    data = named | {split: file for split, file in more.items() if file} if isinstance(named, dict) else named
    task: dict[str, Any] = {"kind": TaskSettings.model_fields["kind"].default, "data": data}
    if isinstance(data, dict):
        found = columns.guess(root / data["train"], wishes.text, wishes.label, _kinds())
        task["kind"], text, label = found
    else:
        text, label = wishes.text, wishes.label
    task |= {"text": text[0] if len(text) == 1 else list(text)} if text else {}
    return task | ({"label": label} if label else {})


def _kinds() -> tuple[str, str, str]:
    """Of tasks: with one label a row, one a word, none."""
    known = {name: find_task_kind(name) for name in task_kinds()}
    usual = str(TaskSettings.model_fields["kind"].default)
    words = next(name for name, kind in known.items() if kind.words)
    return usual, words, next(name for name, kind in known.items() if not kind.labelled)


def _target(wishes: Wishes) -> dict[str, Any]:
    return {"device": wishes.device, "threads": wishes.threads, "batch_size": 1, "sequence_length": 16}


def _limits(wishes: Wishes) -> list[str]:
    limits = [f"score >= {wishes.keep:g} * baseline"]
    limits += [f"latency_ms <= {1 / wishes.speedup:.3g} * baseline"] if wishes.speedup > 1 else []
    return limits + ([f"size_mb <= {wishes.size:g} * baseline"] if wishes.size is not None else [])


def _uneven(sections: dict[str, Any], seen: Look) -> bool:
    return seen.uneven and "macro_f1" in find_task_kind(sections["task"]["kind"]).metrics


def _space(sections: dict[str, Any], offers: list[Offer], root: Path) -> SearchSpace:
    return SearchSpace.parse({**sections, "steps": [offer.step for offer in offers]}, root=root)


def _gone(at: int, offer: Offer, known: Estimate) -> bool:
    """Whether nothing of this step can act on the model."""
    gone = [place for place in known.left_out if place.split(".")[0] == str(at)]
    options = [o for o in offer.step.get("one_of", [offer.step]) if o != "skip"]
    return len(gone) >= len(options) > 0


def _fit(sections: dict[str, Any], known: Estimate, seconds: float) -> Estimate:
    """As many trials as there is time for; where that are too few, fewer training texts. Gives what it takes then."""
    least, most = known.teacher_seconds
    trials = math.floor((seconds - most - known.confirm_seconds) / known.trial_seconds)
    sections["search"]["trials"] = trials = min(max(trials, _LEAST), _MOST)
    rows, needed = known.texts["train"], known.model_copy(update={"trials": trials}).search_seconds[1]
    kept = rows if needed <= seconds else max(min(rows, _FEWEST), round(rows * seconds / needed))
    if kept < rows:
        sections["task"]["limit"] = {"train": kept}
    share = kept / rows
    return known.model_copy(update={
        "trials": trials, "texts": known.texts | {"train": kept}, "teacher_seconds": (least * share, most * share),
        "trial_seconds": known.trial_seconds * share, "confirm_seconds": known.confirm_seconds * share,
    })  # fmt: skip


def _written(sections: dict[str, Any], offers: list[Offer], seen: Look, known: Estimate) -> str:
    """The YAML with its comments."""
    all_ = seen.profile.all
    fewer = sections["task"].get("limit")
    head = [
        f"# yaml-language-server: $schema={SCHEMA}",
        f"# {seen.family}: {seen.layers} layers, {all_.parameters / 1e6:.3g} M parameters, "
        f"{seen.profile.size_mb:.3g} MB, {known.baseline['latency_ms']:.3g} ms on this machine.",
        f"# {seen.rows['train']:,} training texts, half of them of {seen.tokens['median']} tokens or fewer, 98 % of "
        f"{seen.tokens['98 %']} or fewer" + (f"; {len(seen.labels)} labels." if seen.labels else "."),
        f"# A trial takes about {duration(known.trial_seconds)} here with all training texts.",
        *(["# All of them would take longer than there is time for: `limit` takes some. Leave it out where you can."]
          if fewer else []),
        "",
    ]  # fmt: skip
    parts = [f"# {_SAID[key]}\n{to_yaml({key: value})}" for key, value in sections.items()]
    steps = [f"  - {to_flow(offer.step)[1:-1]}  # {offer.why}" for offer in offers]
    return "\n".join([*head, *parts, f"# {_SAID['steps']}", "steps:", *steps, ""])
