"""What is written of a trial in the attributes of its row, and the trial that this stands for. No Optuna in here.

What Optuna has no column for (why a recipe was refused, what was measured besides the objectives) is one JSON attribute
of the trial, written before the trial is told. So a trial that a crash left RUNNING either has its outcome, and is told
again, or has only its parameters, and is run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from autocompress.engine.trial import Trial
from autocompress.space.recipe import Recipe, Steps

OUTCOME, RECIPE = "autocompress", "recipe"  # the attributes' names
STUDY = "autocompress"  # what Optuna calls the one study in the file

ReadRecipe = Callable[[Steps], Recipe]


def outcome(trial: Trial) -> str:
    """What Optuna's own columns do not hold."""
    return json.dumps({k: v for k, v in vars(trial).items() if k not in ("number", "recipe", "params", "front")})


def trial(number: int, params: dict[str, Any], attributes: Mapping[str, str], read: ReadRecipe) -> Trial:
    """Older studies lack some fields, and those of a newer version may have more."""
    known = json.loads(attributes.get(OUTCOME, '{"state": "running"}'))
    fields = {name: value for name, value in known.items() if name in Trial.__dataclass_fields__}
    return Trial(number, recipe=read(json.loads(attributes[RECIPE])), params=params, **fields)
