"""A JSON schema of the YAML language, for editors: generated from the methods, so that it cannot fall behind them."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from autocompress.space.goals import DEFAULT_OBJECTIVES, QUANTITIES
from autocompress.space.language.sections import KEYS, REQUIRED
from autocompress.space.method import Method, methods
from autocompress.space.settings import SearchSettings, Settings, Target, TaskSettings

Schema = dict[str, Any]

ABOUT = {  # of the keys that no class of settings holds
    "model": "The model to compress: a hub id, a local folder, or `builtin/minilm`.",
    "methods": "A folder of methods of your own, one Python file each, which are run.",
    "teacher": "The baseline, and what distillation learns from. `as_given`: the model is fine-tuned already; "
    "`{finetune: {epochs: 3}}`: it is fine-tuned first, once; or another checkpoint with the model's tokenizer. With "
    "`epochs: auto`, the default here, until the validation score has not risen for two epochs, 20 at most, then one "
    "epoch at a falling rate from the best. Left out, it is `as_given` if the checkpoint's head is for these labels "
    "and beats guessing on validation texts, else fine-tuned; which one, and why, is printed.",
    "start": "What a trial begins from: `teacher`, or `pretrained`, the checkpoint as it was given.",
    "objectives": "What the front is spanned by: quantities, each with `maximize` or `minimize`.",
    "constraints": "Limits that every answer must keep: `score >= 0.98 * baseline`, `size_mb <= 40`.",
    "anchors": "Recipes to try first. Each must lie in the space.",
    "steps": "From top to bottom, as they happen: `name`, `name: {knob: ...}`, or `one_of: [...]` of these, of lists "
    "of these, and of `skip`.",
}  # fmt: skip


def schema() -> Schema:
    """What an editor needs to complete and check a search space as it is typed."""
    step = {"$ref": "#/$defs/step"}
    top: dict[str, Schema] = {
        "model": {"type": "string"},
        "methods": {"type": "string"},
        "teacher": {"anyOf": [{"type": ["string", "null"]}, {"$ref": "#/$defs/finetuned"}]},
        "start": {"enum": ["teacher", "pretrained"], "default": "teacher"},
        "task": _settings(TaskSettings),
        "target": _settings(Target),
        "objectives": _object({name: {"const": q.better, "description": q.about} for name, q in QUANTITIES.items()}),
        "constraints": {"type": "array", "items": {"type": "string"}, "default": []},
        "search": _settings(SearchSettings),
        "anchors": {"type": "array", "items": {"type": "array", "items": {"$ref": "#/$defs/decided"}}, "default": []},
        "steps": {"type": "array", "minItems": 1, "items": step},
    }
    top["objectives"]["default"] = dict(DEFAULT_OBJECTIVES)
    for key, about in ABOUT.items():
        top[key]["description"] = about
    option = {"anyOf": [{"const": "skip"}, step, {"type": "array", "items": step, "minItems": 1}]}
    one_of = _object({"one_of": {"type": "array", "minItems": 1, "items": option}}, required=["one_of"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An autocompress search space",
        **_object({key: top[key] for key in KEYS}, required=list(REQUIRED)),
        "$defs": {
            "step": {"anyOf": [*_forms(opened=True), one_of]},
            "decided": {"anyOf": _forms(opened=False)},
            "finetuned": _finetuned(),
        },
    }


def _forms(*, opened: bool) -> list[Schema]:
    """A step in either of its forms: a name, or a name with knobs."""
    every = methods()
    return [{"enum": list(every)}, *(_form(method, opened=opened) for method in every.values())]


def _form(method: type[Method], *, opened: bool) -> Schema:
    """`{name: {knob: value}}`. `opened`: a knob may be a list or a range too."""
    knobs = {knob: _knob(method, knob) for knob in method.model_fields}
    knobs |= {knob: _open(value) for knob, value in knobs.items() if opened and not method.holds_list(knob)}
    inner = _object(knobs)
    inner["type"] = ["object", "null"]  # `layers:` with nothing behind it is `layers`
    return {"description": method.__doc__ or "", **_object({method.name: inner}, required=[method.name])}


def _finetuned() -> Schema:
    """The teacher's fine-tuning, which may go on until its score stops rising."""
    form = _form(methods()["finetune"], opened=False)
    knobs = form["properties"]["finetune"]["properties"]
    epochs = {key: value for key, value in knobs["epochs"].items() if key != "default"}
    knobs["epochs"] = {"anyOf": [{"const": "auto"}, epochs], "default": "auto"}
    return form


def _knob(method: type[Method], knob: str) -> Schema:
    field = method.model_fields[knob]
    return TypeAdapter(field.rebuild_annotation()).json_schema() | {"default": field.default}


def _open(value: Schema) -> Schema:
    """A value, a list of values, or for numbers a range."""
    forms = [value, {"type": "array", "items": value, "minItems": 1}]
    if value.get("type") in ("integer", "number"):
        step, log = {"type": "number", "exclusiveMinimum": 0}, {"type": "boolean"}
        forms.append(_object({"low": value, "high": value, "step": step, "log": log}, required=["low", "high"]))
    return {"anyOf": forms}


def _settings(kind: type[Settings]) -> Schema:
    """A section's schema, with sections within it in their place. A text column may be written without its list."""
    made = kind.model_json_schema()
    inner = {f"#/$defs/{name}": section for name, section in made.pop("$defs", {}).items()}
    whole = {name: inner.get(field.pop("$ref", None), {}) | field for name, field in made["properties"].items()}
    made["properties"] = whole
    if "text" in (fields := made["properties"]):
        columns = fields["text"]
        said = {key: columns.pop(key) for key in ("description", "default")}
        fields["text"] = {"anyOf": [{"type": "string"}, columns], **said}
    return made


def _object(properties: Schema, *, required: list[str] | None = None) -> Schema:
    closed = {"type": "object", "properties": properties, "additionalProperties": False}
    return closed | ({"required": required} if required else {})
