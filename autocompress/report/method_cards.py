"""The methods as a person or a program reads them."""

from __future__ import annotations

import inspect
from typing import Any

from autocompress.space.language import knobs
from autocompress.space.method import Method, find, methods

FAMILIES = ("pruning", "quantization", "distillation", "sharing", "decomposition", "attention", "training")


def entries() -> list[dict[str, Any]]:
    """The shape of `methods --json`, which other programs may rely on."""
    return [entry(name) for name in methods()]


def entry(name: str) -> dict[str, Any]:
    """One method: `pays` is when it does; a knob's `search` is what it is searched over when a space does not say."""
    method = find(name)
    return {
        "name": name, "family": method.family, "stage": method.stage, "pays_in": list(method.pays),
        "pays": inspect.getdoc(method),
        "knobs": {knob: _knob(method, knob) for knob in method.model_fields},
    }  # fmt: skip


def markdown(measured: str = "") -> str:
    """The whole catalogue as a page: a table, what of it was measured, every card. What docs/methods.md is."""
    lines = [
        "# Methods", "",
        "Generated from the code: every method's file begins with its card.",
        "[Methods and model families](matrix.md) says which acts on which.", "",
        "| family | method | pays in | when |", "|---|---|---|---|",
    ]  # fmt: skip
    ordered = sorted(entries(), key=lambda e: (FAMILIES.index(e["family"]), e["name"]))
    for e in ordered:
        pays = " ".join(str(e["pays"]).split())
        lines.append(f"| {e['family']} | [`{e['name']}`](#{e['name']}) | {', '.join(e['pays_in'])} | {pays} |")
    lines += [measured] if measured else []
    for e in ordered:
        title, _, rest = card(e["name"]).partition("\n\nKnobs:\n")
        body = title.partition("\n\n")[2]
        lines += [
            "",
            f"## {e['name']}",
            "",
            body,
            "",
            *(f"- `{line.strip().replace(': ', '`: ', 1)}" for line in rest.splitlines()),
        ]
    return "\n".join(lines) + "\n"


def card(name: str) -> str:
    """One method: what it does, its paper, when it pays, its knobs."""
    method = find(name)
    about = inspect.getdoc(inspect.getmodule(method)) or ""
    lines = [f"  {knob}: {_words(_knob(method, knob))}" for knob in method.model_fields]
    pays = f"Pays in {', '.join(method.pays)}. {inspect.getdoc(method) or ''}"
    lines = lines or ["  none"]
    return "\n".join([f"{name} ({method.family}, {method.stage})", "", about, "", pays, "", "Knobs:", *lines])


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
