"""docs/troubleshooting.md has every message that ends a command, and none that there is not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parent.parent
FAMILIES = {"ConfigError", "NothingFeasible", "Paused", "AutocompressError"}
ANY = "…"  # what differs from time to time


def _told(node: ast.expr) -> list[str]:
    """What this expression may say, with what is filled in as `…`."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=values):
            return ["".join(each) for each in product(*map(_told, values))]
        case ast.FormattedValue(value=ast.IfExp() as choice):
            return _told(choice)
        case ast.IfExp(body=one, orelse=other):
            return [*_told(one), *_told(other)]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return ["".join(each) for each in product(_told(left), _told(right))]
    return [ANY]


def _letters(text: str) -> int:
    """How much of a message is fixed."""
    return len(re.findall("[a-z]", text.replace("Got", "")))


def _messages() -> Iterator[tuple[str, str]]:
    """Where, and what. What is put together elsewhere is found there."""
    for path in sorted((ROOT / "autocompress").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[said, *_]) if name in FAMILIES:
                    pass
                case ast.Call(func=ast.Attribute(attr="add"), args=[_, said]) if "language" in path.parts:
                    pass
                case _:
                    continue
            for text in _told(said):
                if _letters(text) > 2:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", " ".join(text.split())


PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
LISTED = [said for row in re.findall(r"^\| (`.*?`) \| ", PAGE, flags=re.M) for said in re.findall(r"`([^`]+)`", row)]


def _fits(listed: str, message: str) -> bool:
    return bool(re.fullmatch(".*".join(re.escape(part) for part in listed.split(ANY)), message))


def test_every_message_has_its_cure() -> None:
    """But those that only put together what other code says."""
    told = [(where, said) for where, said in _messages() if _letters(said) > 9]
    missing = [f"{where}: {said}" for where, said in told if not any(_fits(each, said) for each in LISTED)]
    assert not missing, "\n" + "\n".join(missing)


def test_no_message_is_invented() -> None:
    told = [said for _, said in _messages()]
    anything = [listed for listed in LISTED if listed.startswith(ANY) and _letters(listed) < 9]
    assert not anything, "these would stand for anything"
    assert len(told) > 200
    assert not [listed for listed in LISTED if not any(_fits(listed, said) for said in told)]
