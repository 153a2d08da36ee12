"""Commands on search spaces, and on the methods that they are made of."""

from __future__ import annotations

from typing import Annotated

import typer

from autocompress.cli.options import Json, SpaceFile
from autocompress.cli.terminal import print_json, print_table


def show(space: SpaceFile, as_json: Json = False) -> None:
    """The filled space: every knob with what it is searched over."""
    from autocompress.space.language.yaml_lines import to_yaml
    from autocompress.space.search_space import SearchSpace

    filled = SearchSpace.load(space).dump()
    print_json(filled) if as_json else print(to_yaml(filled))


def validate(space: SpaceFile) -> None:
    """Check a space and run nothing."""
    from autocompress.space.search_space import SearchSpace

    loaded = SearchSpace.load(space)
    size = "endlessly many" if loaded.size is None else f"{loaded.size:,}"
    print(f"{space}: in order. {size} recipes, {len(loaded.steps)} steps, {len(loaded.anchors)} anchors.")


def schema() -> None:
    """The JSON schema of search spaces, for editors."""
    from autocompress.space.language.schema import schema

    print_json(schema())


def methods(
    name: Annotated[str | None, typer.Argument(help="one method's card")] = None, as_json: Json = False
) -> None:
    """The catalogue, or one method's card."""
    from autocompress.report import method_cards

    if name:
        print_json(method_cards.entry(name)) if as_json else print(method_cards.card(name))
    elif as_json:
        print_json(method_cards.entries())
    else:
        ordered = sorted(method_cards.entries(), key=lambda e: (e["family"], e["name"]))
        rows = [(e["family"], e["name"], ", ".join(e["pays_in"]), e["pays"]) for e in ordered]
        print_table(("family", "method", "pays in", "when it pays"), rows)
