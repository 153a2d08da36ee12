"""The documentation builds without a warning, from what lies here, and is read without a network."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NEEDED = ("sphinx", "myst_parser", "pydata_sphinx_theme", "sphinx_copybutton")
MISSING = [name for name in NEEDED if find_spec(name) is None]
OFFLINE = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}  # nothing listens there


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"pip install 'autocompress[docs]' brings {', '.join(MISSING)}")
def test_it_builds_without_a_warning_and_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, place in OFFLINE.items():
        monkeypatch.setenv(name, place)
    strictly = ["--fail-on-warning", "--keep-going", "--quiet"]
    command = [sys.executable, "-m", "sphinx", *strictly, "-d", str(tmp_path / "read"), str(ROOT / "docs")]
    done = subprocess.run([*command, str(tmp_path / "pages")], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    written = {page.relative_to(tmp_path / "pages").as_posix() for page in (tmp_path / "pages").rglob("*.html")}
    sources = {page.relative_to(ROOT / "docs").with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")}
    assert {page.as_posix() for page in sources if page.parts[0] != "_build"} <= written
    for name in written:
        tags = re.findall(r"<(?:script|img|iframe|link)\b[^>]*>", (tmp_path / "pages" / name).read_text())
        assert not [tag for tag in tags if re.search(r"""(?:src|href)=["']https?:""", tag)], name
