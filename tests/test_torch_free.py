"""Reading a study takes no torch, and no Optuna either: in a process of its own, each command that only reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import autocompress

HEAVY = "{'torch', 'transformers', 'onnx', 'onnxruntime', 'mlflow', 'datasets'}"
SLOW = f"{HEAVY} | {{'optuna', 'sqlalchemy', 'alembic', 'pandas', 'yaml'}}"
RAN = """
import sys
from autocompress.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("heavy:", sorted(({}) & set(sys.modules)), file=sys.stderr)
"""


def heavy(code: str, *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stderr.splitlines()[-1]


@pytest.mark.parametrize("module", ["study", "engine.run", "engine.coordinator", "space.search_space", "report.tables"])
def test_a_module_loads_without_torch(module: str) -> None:
    code = f"import sys, autocompress.{module}; print('heavy:', sorted({HEAVY} & set(sys.modules)), file=sys.stderr)"
    assert heavy(code) == "heavy: []"


def test_what_a_checkpoint_says_of_itself_is_read_without_what_models_are_made_of() -> None:
    stored = Path(__file__).parent / "stored" / "format-1"
    code = f"""
import sys
from autocompress.models import loading, storage
assert loading.head_labels({str(stored)!r}) == ("sour", "sweet")
assert storage.read_config({str(stored)!r}).model_type == "bert"
found = {{"transformers.modeling_utils", "torch._dynamo", "mlflow"}} & set(sys.modules)
print("heavy:", sorted(found), file=sys.stderr)
"""
    assert heavy(code) == "heavy: []"


@pytest.mark.slow
def test_commands_that_read_a_study_load_neither_torch_nor_optuna(project: Path) -> None:
    study = autocompress.search(project, trials=2)
    numbers = [str(t.number) for t in study.listed()[1:3]]
    for command in (
        ["trials", "space"], ["trials", "space", "--json"], ["studies"], ["compare", "space", *numbers],
        ["tabulate", "space", "--to", "table.parquet"],
    ):  # fmt: skip
        assert heavy(RAN.format(SLOW), *command) == "heavy: []", command
    assert Path("table.parquet").is_file()
    study.report(to="first")  # measures what each step of the chosen recipe gives, once
    assert heavy(RAN.format(HEAVY), "report", "space", "--to", "again") == "heavy: []"
    assert Path("again/report.html").is_file()


def test_help_loads_what_it_is_written_with_alone() -> None:
    assert heavy(RAN.format(f"{SLOW} | {{'pydantic', 'numpy', 'rich', 'pygments'}}"), "--help") == "heavy: []"
