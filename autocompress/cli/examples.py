"""What `--help` of each command ends with: lines to type, of which each does something else."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {  # by the command's name
    "doctor": ("",),
    "init": ("space.yaml", "space.yaml --model ./model --data train.csv --device cpu --speedup 2 --time 1h"),
    "plan": ("space.yaml",),
    "apply": ("recipe.yaml --space space.yaml --to small", "recipe.yaml --model ./model --data train.csv --to small"),
    "search": ("space.yaml", "space.yaml --trials 30 --workers 2 --timeout 2h", "space.yaml --quiet --json"),
    "resume": ("reviews", "reviews --trials 40 --rule fastest --to small"),
    "profile": ("./model", "builtin/minilm --target space.yaml --picture profile.svg"),
    "show": ("space.yaml",),
    "validate": ("space.yaml",),
    "schema": ("> space.schema.json",),
    "methods": ("", "layers"),
    "studies": ("",),
    "trials": ("reviews --front", "reviews --sort latency_ms", "reviews --refused"),
    "compare": ("reviews t004 t017", "reviews baseline t017"),
    "tabulate": ("reviews --to reviews.parquet",),
    "report": ("reviews", "reviews --to reports/reviews"),
    "ui": ("reviews", "reviews --compare"),
    "sync": ("reviews",),
    "export": ("reviews --to small --rule smallest", "reviews --to chosen --trial t017 --register reviews"),
    "predict": ('exported/reviews "I loved it" "never again"', 'exported/pairs --pair "a text" "another" --json'),
    "verify": ("exported/reviews", "exported/reviews --data held_out.csv"),
    "cache": ("", "teachers --clear"),
}


def epilog(command: str) -> str:
    """The last lines of the command's help."""
    lines = [f"autocompress {command} {rest}".rstrip() for rest in EXAMPLES.get(command, ())]
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)]) if lines else ""
