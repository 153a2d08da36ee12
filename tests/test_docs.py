"""The tables of the docs are complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autocompress.report import method_cards, yaml_reference
from autocompress.space.goals import QUANTITIES
from autocompress.space.language.sections import KEYS
from autocompress.space.settings import SearchSettings, Target, TaskSettings

ROOT = Path(__file__).parent.parent
TABLES = (ROOT / "docs" / "language.md").read_text()
ROWS = re.findall(r"^\| `([\w.]+)` \|", TABLES, flags=re.M)


def test_every_key_has_its_row() -> None:
    sections = {"task": TaskSettings, "target": Target, "search": SearchSettings}
    keys = [key for key in KEYS if key not in sections]
    keys += [f"{section}.{field}" for section, fields in sections.items() for field in fields.model_fields]
    assert {row for row in ROWS if row not in QUANTITIES} == set(keys)


def test_every_quantity_has_its_row_and_says_when_it_is_known() -> None:
    for name, quantity in QUANTITIES.items():
        [known] = re.findall(rf"^\| `{name}` \|.*\| (yes|no) \|$", TABLES, flags=re.M)
        assert (known == "yes") is quantity.before_training


MEASURED = ROOT / "benchmarks" / "results" / "methods.md"
GENERATED = {"methods": lambda: method_cards.markdown(f"\n{MEASURED.read_text()}"), "language": yaml_reference.markdown}


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_that_of_the_code(name: str) -> None:
    page, text = ROOT / "docs" / f"{name}.md", GENERATED[name]()
    if not page.exists() or page.read_text() != text:
        page.write_text(text)
        pytest.fail(f"docs/{name}.md was out of date and is written anew: read it, and commit it")
