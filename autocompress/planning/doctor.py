"""Checks of the installation: each finding is a sentence, and where something is wrong, one with its cure."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.requirements import Requirement

from autocompress.errors import ConfigError
from autocompress.machine import fingerprint, gpu
from autocompress.machine.entries import cache_root
from autocompress.machine.eviction import limit_bytes
from autocompress.tracking.connection import shown, tracking_uri

_GB = 1e9
_OURS = "dev"  # the extra of those who work on autocompress
_LITTLE = 5.0  # gigabytes: a study of BERT-base keeps about as much


class Finding(NamedTuple):
    """One thing that was looked at. `cure`: what to do, where it is not well."""

    state: Literal["well", "note", "wrong"]
    what: str
    cure: str = ""


def findings() -> list[Finding]:
    """Everything that a search needs of this machine."""
    return [*_python(), *_packages(), *_extras(), *_places(), *_cores(), *_gpu(), *_hub()]


def _python() -> Iterator[Finding]:
    yield Finding("well", f"Python is {'.'.join(map(str, sys.version_info[:3]))}.")


def _packages() -> Iterator[Finding]:
    """What the core asks for: its own list of requirements is the only one there is."""
    faults = {requirement: _fault(requirement) for requirement in _requirements("")}
    wrong = [Finding("wrong", fault, f"pip install '{asked}'") for asked, fault in faults.items() if fault]
    yield from wrong
    if not wrong:
        shown = ", ".join(f"{requirement.name} {version(requirement.name)}" for requirement in faults)
        yield Finding("well", f"All packages are there in versions that fit: {shown}.")


def _extras() -> Iterator[Finding]:
    """What is installed on request only."""
    for extra in metadata("autocompress").get_all("Provides-Extra") or []:
        if extra == _OURS:
            continue
        missing = [fault for requirement in _requirements(extra) if (fault := _fault(requirement))]
        if missing:
            yield Finding("note", " ".join(missing), f"If you need it: pip install 'autocompress[{extra}]'")
        else:
            yield Finding("well", f"The extra {extra!r} is installed.")


def _places() -> Iterator[Finding]:
    """Where files are kept: whether they can be written, and how much room is left."""
    try:
        root = cache_root()
        root.mkdir(parents=True, exist_ok=True)
        yield from _room("The cache", root, "AUTOCOMPRESS_CACHE")
        used = limit_bytes() / _GB
        yield Finding("well", f"The cache may grow to {used:.3g} GB (AUTOCOMPRESS_CACHE_GB).")
    except (ConfigError, OSError) as e:
        yield Finding("wrong", f"The cache cannot be used: {e}", "Set AUTOCOMPRESS_CACHE to a folder you may write.")
    yield from _room("The folder of studies", Path("studies"), "")
    yield Finding("well", f"Trials are logged to MLflow at {shown(tracking_uri())}.")


def _room(what: str, place: Path, variable: str) -> Iterator[Finding]:
    there = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())
    instead = f"Set {variable} to another folder." if variable else "Change to another folder."
    if not os.access(there, os.W_OK):
        yield Finding("wrong", f"{what}, {place}, cannot be written to.", instead)
        return
    left = shutil.disk_usage(there).free / _GB
    said = f"{what}, {place}, has {left:.3g} GB of room."
    if left < _LITTLE:
        yield Finding("note", said, f"A study of a base-sized model may need {_LITTLE:g} GB: free some. {instead}")
    else:
        yield Finding("well", said)


def _cores() -> Iterator[Finding]:
    """Cores that this process may use, and what other programs take of them."""
    facts = fingerprint.machine()
    cores, load = int(facts["cores"]), os.getloadavg()[0]
    yield Finding("well", f"There are {cores} cores of {facts['cpu']}.")
    if "no vnni" in facts["cpu"]:
        yield Finding(
            "note", "This processor has no instructions for products of 8-bit numbers (VNNI).",
            "int8 models gain little speed here: measure on the machine that will serve, if that one has them.",
        )  # fmt: skip
    if load > cores / 2:
        yield Finding(
            "note", f"Other programs keep {load:.1f} cores busy.",
            "Latencies are noisier and searches slower then: wait until they have ended.",
        )  # fmt: skip


def _gpu() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        facts = gpu.facts("cuda")
        yield Finding("well", f"Models are trained on the GPU {facts['gpu']}, driver {facts['driver']}.")
    elif gpu.facts("cuda")["gpu"] != "unknown":
        yield Finding(
            "note", f"torch {torch.__version__} does not see the GPU {gpu.facts('cuda')['gpu']}.",
            "Install a CUDA build of torch: https://pytorch.org/get-started/locally",
        )  # fmt: skip
    else:
        yield Finding("well", "There is no GPU: models are trained on the CPU.")


def _hub() -> Iterator[Finding]:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        yield Finding(
            "note", "HF_HUB_OFFLINE is set: models and data of the hub are not downloaded.",
            "Unset it, or name local folders and files.",
        )  # fmt: skip


def _requirements(extra: str) -> list[Requirement]:
    """Of the core, or of one extra alone."""
    every = [Requirement(line) for line in requires("autocompress") or []]
    core = [r for r in every if r.marker is None or r.marker.evaluate({"extra": ""})]
    if not extra:
        return core
    return [r for r in every if r not in core and r.marker and r.marker.evaluate({"extra": extra})]


def _fault(requirement: Requirement) -> str:
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is not installed."
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{requirement.name} is {found}, and should be {requirement.specifier}."
    return ""
