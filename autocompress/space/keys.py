"""The key of everything that is kept from one search for the next, in one place.

A key is a digest of all that the result depends on: inputs, knobs, seeds, the libraries whose code runs, and our own
code, which revisions stand for. A revision goes up whenever the same inputs would give another result, and what was
made before is made anew; tests/test_revisions.py notices changes of the code. Moving a file changes no key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from autocompress.machine import revisions
from autocompress.space.method import Method
from autocompress.space.recipe import Recipe, digest

TRAINER = 5  # batches, optimizer, losses, the module that training starts from: all that trains, besides methods
IMPORTANCE = 1  # how units are scored
LIMITS = 1  # how it is found out what a model reads
MEASURING = 2  # how latency and sizes are measured: what one procedure gives is not compared with another's


def teacher(
    checkpoint: str, task: str, finetune: Method | None, seed: int, *, new_head: bool, device: str = "cpu"
) -> str:
    """Equal keys, equal teachers. `checkpoint` and `task` are fingerprints; `finetune`: what makes the teacher.

    `new_head`: it begins without the head that the checkpoint has. `device`: the kind on which it is trained and
    asked, and after a blank what it computes in, if that is not float32.
    """
    taught = finetune and [finetune.model_dump(mode="json"), revision(type(finetune)), new_head]
    return digest([checkpoint, task, taught, seed, TRAINER, _libraries(), *_not_cpu(device)])


def arithmetic(checkpoint: str, machine: Mapping[str, str], device: str) -> str:
    """Equal keys, machines on which a step of the model takes as long."""
    return digest([checkpoint, dict(machine), device, _libraries()])


def head(checkpoint: str, task: str, metric: str) -> str:
    """Equal keys, heads that answer alike and are judged alike."""
    return digest([checkpoint, task, metric, _libraries()])


def origin(teacher_key: str, start: str, checkpoint: str) -> str:
    """Equal origins, equal models to start from and equal teachers. `checkpoint`: empty if the teacher is the start."""
    return digest([teacher_key, start, checkpoint])


def prefix(
    origin_key: str, recipe: Recipe, seed: int, repeat: int, target: Mapping[str, Any], device: str = "cpu",
    checkpoints: Sequence[str] = (),
) -> str:  # fmt: skip
    """Equal keys, equal models once these steps are done. `device`: as of `teacher`.

    `checkpoints`: the fingerprints of those that the steps read.

    The target is a part of it only where a method has its training depend on where the model will run.
    """
    used = [{"target": dict(target)}] if any(method.uses_target for method in recipe) else []
    parts = [origin_key, seed, repeat, recipe.dump(), _revisions(recipe), TRAINER]
    return digest([*parts, *used, *_not_cpu(device), *([{"checkpoints": [*checkpoints]}] if checkpoints else [])])


def seed(search_seed: int, recipe: Recipe, repeat: int) -> int:
    """What is trained alike gets the same seed, in every study with the same one. No revision changes it."""
    return int(digest([search_seed, repeat, recipe.key]), 16) % 2**31


def rungs(recipe: Recipe, metric: str) -> str:
    """Whose scores at a share of the training they are: others that begin alike have other steps to come."""
    return digest([recipe.key, metric])


def importance(prefix_key: str, sites: Iterable[tuple[str, int]], groups: list[int]) -> str:
    """Scores of these sites of that model. `sites`: the path of each and how many inputs it has."""
    return digest([prefix_key, list(sites), groups, IMPORTANCE])


def companion(prefix_key: str, method: Method) -> str:
    """A model that `method` makes besides the one it acts on."""
    return digest([prefix_key, method.name, method.model_dump(mode="json"), revision(type(method)), TRAINER])


def surroundings(signatures: list[str], target: Mapping[str, Any], runtime: Mapping[str, Any],
                 machine: Mapping[str, str], extra: list[bool]) -> str:  # fmt: skip
    """What, besides a candidate's shapes, decides its size and latency. `signatures`: of the teacher and the start.

    Transformers' code is what a runtime's graph is traced from.
    """
    return digest([signatures, target, runtime, machine, extra, MEASURING, _libraries()])


def rehearsal(recipe: Recipe, surroundings_key: str, corpus: str = "", checkpoints: Sequence[str] = ()) -> str:
    """Recipes that differ in training knobs alone have equal keys.

    `corpus`: a fingerprint of the training texts, where a step's shapes depend on them; `checkpoints`: of those read.
    """
    more = [[corpus, *checkpoints]] if corpus or checkpoints else []
    return digest([recipe.shape_key, _revisions(recipe), surroundings_key, *more])


def shape(signature: str, surroundings_key: str) -> str:
    """Equal keys, equal size and latency."""
    return digest([signature, surroundings_key])


def limits(checkpoint: str) -> str:
    """What a model reads. `checkpoint`: its fingerprint, that of its tokenizer included."""
    return digest([checkpoint, LIMITS, _libraries()])


def revision(method: type[Method]) -> int | str:
    """A method's revision; of one that is not ours, a digest of its code: nobody raises a number there."""
    if method.__module__.startswith("autocompress."):  # a recorded step too, which is never carried out
        return method.revision
    return _own_digest(method.__module__, method.__name__)


@cache
def _own_digest(module: str, name: str) -> str:
    return revisions.code_digest(module, name)


def _revisions(recipe: Recipe) -> list[int | str]:
    return [revision(type(method)) for method in recipe]


def _not_cpu(device: str) -> list[dict[str, str]]:
    """Other kinds of devices round otherwise."""
    return [] if device == "cpu" else [{"device": device}]


def _libraries() -> dict[str, str]:
    return {package: version(package) for package in ("torch", "transformers")}
