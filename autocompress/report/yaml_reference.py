"""The search space, key by key, as a page: what docs/language.md is. All that it says stands in the settings."""

from __future__ import annotations

import json
from typing import Any

from autocompress.space.goals import QUANTITIES
from autocompress.space.language.schema import ABOUT, Schema, schema
from autocompress.space.settings import SearchSettings, Settings, Target, TaskSettings

_SECTIONS: dict[str, type[Settings]] = {"task": TaskSettings, "target": Target, "search": SearchSettings}
_HEAD = """\
# The search space, key by key

Generated from the code. A search space is a YAML file; `autocompress validate space.yaml` checks it and prints all
mistakes at once with their lines, `autocompress show space.yaml` prints it with nothing left to a default, and
`autocompress schema` prints a JSON schema with which an editor completes and checks it. Relative paths start at the
file's own folder.

```yaml
model: ./model
task:
  data: {train: train.csv, validation: validation.csv, test: test.csv}
  max_length: 16
constraints:
  - score >= 0.95 * baseline
  - size_mb <= 0.5 * baseline
search: {trials: 20}
anchors:
  - [layers: {keep: 0.5}, finetune]
steps:
  - one_of: [skip, layers]
  - one_of: [skip, soft_labels]
  - finetune: {epochs: [1, 2]}
  - one_of: [skip, int8_dynamic]
```
"""
_STEPS = """\
## Steps

A step is a method ([all of them](methods.md)), alone or with knobs. The steps of a recipe happen from top to bottom.
`one_of` and `skip` are the only two words of the language:

```yaml
- one_of:
    - skip                              # nothing
    - layers: {keep: [0.5, 0.75]}       # a list: one of these values
    - [heads, neurons]                  # a list of steps: all of them
- one_of: [skip, soft_labels]
- finetune: {epochs: 2, lr: {low: 1e-5, high: 1e-3, log: true}}   # a value is fixed; a mapping is a range
- one_of: [skip, int8_dynamic, int8_static]
```

A range is `{low, high}` with both ends included, with `step: 8` on a grid, with `log: true` by orders of magnitude. A
knob that is not mentioned is searched over the range that its author gave, which `autocompress methods layers` shows.

In an anchor every knob is decided: one that is left out takes its default, or what the space has nearest to it.
"""
_QUANTITIES = """\
## Quantities

What objectives and constraints may name. What is known before training is judged before it: a recipe that breaks such a
limit is never trained.

| quantity | what it is | known before training |
|---|---|---|
"""
_TABLE = "| key | holds | values | if left out |\n|---|---|---|---|\n"
_KEYS = "| key | holds | if left out |\n|---|---|---|\n"


def markdown() -> str:
    """The page."""
    found = schema()
    keys = "".join(_row(key, found["properties"][key], found["required"], values=False) for key in ABOUT)
    parts = [
        _HEAD,
        f"## The file\n\nBesides `task`, `target` and `search`, which are sections of their own:\n\n{_KEYS}{keys}",
    ]
    for name, settings in _SECTIONS.items():
        section = found["properties"][name]
        rows = "".join(
            _row(f"{name}.{key}", section["properties"][key], [f"{name}.{k}" for k in section.get("required", ())])
            for key in settings.model_fields
        )
        parts.append(f"## {name}\n\n{section['description']}\n\n{_TABLE}{rows}")
    known = {True: "yes", False: "no"}
    rows = "".join(f"| `{name}` | {q.about} | {known[q.before_training]} |\n" for name, q in QUANTITIES.items())
    return "\n".join([*parts, _STEPS, _QUANTITIES + rows])


def _row(name: str, field: Schema, required: list[str], *, values: bool = True) -> str:
    about = " ".join(field["description"].split()).replace("|", "\\|")
    left_out = "required" if name in required else _default(field)
    cells = [f"`{name}`", about, *([_values(field)] if values else []), left_out]
    return f"| {' | '.join(cells)} |\n"


def _values(field: Schema) -> str:
    """What may stand there, where that is short to say."""
    low, most = field.get("minimum"), field.get("maximum", field.get("exclusiveMaximum", 0) - 1)
    match field:
        case {"enum": list() as names}:
            return ", ".join(f"`{name}`" for name in names)
        case {"type": "integer" | "number"}:
            return f"{low} to {most:,}" if most > 0 else f"from {low} on"
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"properties": dict() as inner} if "description" in next(iter(inner.values()), {}) and len(inner) < 4:
            return "; ".join(f"`{key}`: {_values(part)}" for key, part in inner.items())
    return ""


def _default(field: Schema) -> str:
    """What is taken, as YAML writes it."""
    given: Any = field.get("default")
    if given in (None, [], {}):
        return "see there" if "default" not in field and "anyOf" in field else "none"
    if isinstance(given, list) and len(given) == 1:
        [given] = given
    if isinstance(given, dict):
        return "`{" + ", ".join(f"{key}: {value}" for key, value in given.items()) + "}`"
    return f"`{given if isinstance(given, str) else json.dumps(given)}`" if given != "" else "the first of its kind"
