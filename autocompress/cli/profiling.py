"""The command on where a model's time and bytes go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autocompress.cli.options import Json
from autocompress.cli.terminal import print_json, print_table


def profile(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="a hub id, a folder, an exported one, builtin/minilm")],
    target: Annotated[Path | None, typer.Option(metavar="SPACE.yaml", help="the target of this search space")] = None,
    runtime: Annotated[
        str | None, typer.Option(help="where it runs: onnxruntime (if left out), openvino, torch")
    ] = None,
    compile: Annotated[bool | None, typer.Option("--compile", help="torch: compiled, which takes a while")] = None,
    device: Annotated[str | None, typer.Option(help="cpu (if left out), cuda")] = None,
    threads: Annotated[int | None, typer.Option(help="1 if left out")] = None,
    batch_size: Annotated[int | None, typer.Option(help="texts at once; 1 if left out")] = None,
    sequence_length: Annotated[
        int | None, typer.Option(help="tokens of each text; 128 if left out, or what it reads")
    ] = None,
    picture: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="draw it too: svg, png or pdf")] = None,
    as_json: Json = False,
) -> None:
    """Where a model's parameters, bytes and time go, and what each family of methods could save at most."""
    from autocompress.profiling import picture as drawing
    from autocompress.profiling import table
    from autocompress.profiling.subject import find_subject
    from autocompress.space.search_space import SearchSpace

    if picture:
        drawing.check(picture)
    base = SearchSpace.load(target).target if target else None
    changes = {"runtime": runtime, "compile": compile, "device": device, "threads": threads, "batch_size": batch_size}
    found = find_subject(model, Path(), base, **changes, sequence_length=sequence_length).profile()
    if picture:
        drawing.draw(found, picture)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    first, *rest = table.sentences(found)
    print(f"{first}\n")
    print_table(table.KIND_COLUMNS, list(table.kind_rows(found)))
    print_table(table.ROOF_COLUMNS, list(table.roof_rows(found)))
    print("\n".join([*rest, "", "What each family could save at most; in brackets: no method yet."]))
    print_table(table.SAVING_COLUMNS, list(table.saving_rows(found)))
    if picture:
        print(f"The picture is in {picture}")
