"""A YAML file as plain data that still knows its lines. The only importer of yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from autocompress.errors import ConfigError
from autocompress.space.language.mistakes import Mistakes, Place

_MOST = 100_000  # references to references would fill the memory from a kilobyte


class YamlSource:
    """What a file holds, and where. Every mistake of form is raised at once."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self._read = name, 0
        self._loader = yaml.SafeLoader("")
        mistakes = Mistakes()
        try:
            self._root = yaml.compose(text, Loader=yaml.SafeLoader)
            self.data = self._plain(self._root, (), (), mistakes)
        except yaml.YAMLError as e:
            raise ConfigError(self._unreadable(e)) from None
        mistakes.settle(self.where)

    @classmethod
    def read(cls, path: Path) -> YamlSource:
        """Open and read `path`."""
        try:
            return cls(str(path), path.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: there is no such file.") from None
        except IsADirectoryError:
            raise ConfigError(f"{path}: this is a folder. Name the YAML file in it.") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: this is not text in UTF-8.") from None

    def where(self, place: Place) -> str:
        """`file:line` of the value that `place` leads to, or of the last thing on the way that exists."""
        node, line = self._root, 0 if self._root is None else self._root.start_mark.line
        for part in place:
            entry = _entry(node, part)
            if entry is None:
                break
            line, node = entry
        return f"{self.name}:{line + 1}"

    def _plain(self, node: Node | None, place: Place, inside: tuple[Node, ...], mistakes: Mistakes) -> Any:
        """`node` as dicts, lists and scalars."""
        self._read += 1
        if self._read > _MOST:
            raise ConfigError(
                f"{self.name}: a file may hold {_MOST} values, counted wherever * refers to them. Got more."
            )
        if node in inside:
            mistakes.add(place, "this refers to itself.")
            return None
        inside += (node,) if node else ()
        match node:
            case MappingNode():
                return self._mapping(node, place, inside, mistakes)
            case SequenceNode():
                return [self._plain(n, (*place, i), inside, mistakes) for i, n in enumerate(node.value)]
            case ScalarNode():
                return self._scalar(node, place, mistakes)
        return None

    def _scalar(self, node: ScalarNode, place: Place, mistakes: Mistakes) -> Any:
        try:
            return self._loader.construct_object(node)
        except ValueError as e:  # 2026-02-30
            mistakes.add(place, f"this looks like a date or a number, and is none: {e}. Put it in quotes.")
            return None

    def _mapping(self, node: MappingNode, place: Place, inside: tuple[Node, ...], mistakes: Mistakes) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                mistakes.add(place, "a key should be a word, not a list or a mapping.")
            elif key.value in out:
                mistakes.add(place, f"the key {key.value!r} stands twice.", line=key.start_mark.line + 1)
            else:
                out[key.value] = self._plain(value, (*place, key.value), inside, mistakes)
        return out

    def _unreadable(self, error: yaml.YAMLError) -> str:
        if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark or error.context_mark):
            return f"{self.name}:{mark.line + 1}: this is not YAML: {error.problem or error.context}."
        return f"{self.name}:1: this is not YAML: {str(error).splitlines()[0]}."


def to_yaml(data: Any) -> str:
    """Plain data as YAML, in the order it is in."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


def to_flow(data: Any) -> str:
    """A list or a mapping as YAML in one line."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=True).strip()


def write_yaml(path: Path, data: Any) -> None:
    """Plain data as a YAML file."""
    path.write_text(to_yaml(data), encoding="utf-8")


def _entry(node: Node | None, part: str | int) -> tuple[int, Node] | None:
    """The line and value of one entry of a mapping or a list."""
    if isinstance(node, MappingNode):
        return next(((k.start_mark.line, v) for k, v in node.value if k.value == part), None)
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line, node.value[part]
    return None
