"""The methods as a person or a program reads them."""

from __future__ import annotations

import inspect
from typing import Any

from autocompress.space.language import knobs
from autocompress.space.method import Method, find, methods


def entries() -> list[dict[str, Any]]:
    """The shape of `methods --json`, which other programs may rely on."""
    return [entry(name) for name in methods()]


def entry(name: str) -> dict[str, Any]:
    """One method: `pays` is when it does; a knob's `search` is what it is searched over when a space does not say."""
    method = find(name)
    return {
        "name": name, "family": method.family, "pays": inspect.getdoc(method),
        "knobs": {knob: _knob(method, knob) for knob in method.model_fields},
    }  # fmt: skip


def card(name: str) -> str:
    """One method: what it does, its paper, when it pays, its knobs."""
    method = find(name)
    about = inspect.getdoc(inspect.getmodule(method)) or ""
    lines = [f"  {knob}: {_words(_knob(method, knob))}" for knob in method.model_fields]
    return "\n".join([f"{name} ({method.family})", "", about, "", inspect.getdoc(method) or "", "", "Knobs:", *lines])


def _knob(method: type[Method], name: str) -> dict[str, Any]:
    return {"default": method.model_fields[name].default, "search": knobs.form(method.knobs()[name])}


def _words(knob: dict[str, Any]) -> str:
    """`0.1 to 10.0 (log), else 1.0`: what it is searched over, and its value where nothing is searched."""
    match knob["search"]:
        case {"low": low, "high": high, **more}:
            extra = ", ".join(str(k) if v is True else f"{k} {v}" for k, v in more.items())
            searched = f"{low} to {high}" + (f" ({extra})" if extra else "")
        case list() as choices:
            searched = " or ".join(map(str, choices))
        case fixed:
            return str(fixed)
    return f"{searched}; {knob['default']} if not searched"
