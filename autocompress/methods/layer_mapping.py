"""Which of a teacher's layers each layer of a student learns from."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from autocompress.errors import NotApplicable
from autocompress.models.families.anatomy import anatomy
from autocompress.models.stream import width_of

Mapping = Literal["skip", "last"]


def states_of(model: nn.Module) -> tuple[int, int]:
    """How many layers tell of their hidden states, and how wide those are."""
    found = anatomy(model)
    if not found.stacks:
        raise NotApplicable(f"a {found.kind!r} model has no layers that follow each other")
    if len(found.stacks) > 1:
        raise NotApplicable("one stack of layers can be learnt from. This model has an encoder and a decoder")
    return found.stacks[0].passes, width_of(model)


def mapped(students: int, teachers: int, mapping: Mapping) -> list[int]:
    """Which of the teacher's hidden states each of the student's learns, embeddings (0) first."""
    if students > teachers:
        raise NotApplicable(f"{students} layers cannot be mapped to a teacher of only {teachers}")
    skipped = teachers - students
    ranks = range(1, students + 1)
    return [0] + [m * teachers // students if mapping == "skip" else m + skipped for m in ranks]


def projection(width: int, teacher_width: int, seed: int) -> nn.Module:
    """What makes a student's states as wide as the teacher's, where they are not: trained along, and thrown away."""
    if width == teacher_width:
        return nn.Identity()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(width, teacher_width, bias=False)
