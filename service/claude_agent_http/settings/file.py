"""What `config.yaml` gives, with the line of every value."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from claude_agent_http.settings.given import Given
from claude_agent_http.settings.names import SECTIONS, fields
from claude_agent_http.settings.problems import Problem, nearest

__all__ = ["FileContent", "read_file"]

_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileContent:
    given: tuple[Given, ...] = ()
    problems: tuple[Problem, ...] = ()


class _Pairs:
    """The mapping nodes of one YAML document, as key, value and line."""

    def __init__(self, path: Path, text: bytes) -> None:
        self._path = path
        self._loader = yaml.SafeLoader(text)

    def root(self) -> yaml.Node | None:
        return self._loader.get_single_node()

    def source(self, node: yaml.Node) -> str:
        return f"{self._path}:{node.start_mark.line + 1}"

    def pairs(self, node: yaml.MappingNode) -> list[tuple[str, yaml.Node, yaml.Node]]:
        self._loader.flatten_mapping(node)
        return [(str(self.value(key)), key, value) for key, value in node.value]

    def value(self, node: yaml.Node) -> Any:
        return self._loader.construct_object(node, deep=True)

    def repeated(self, node: yaml.Node, seen: set[int]) -> Iterator[Problem]:
        """Keys that stand twice in one mapping: YAML lets the last one win in silence."""
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from self.repeated(item, seen)
        if isinstance(node, yaml.MappingNode):
            lines: dict[Any, int] = {}
            for key, value in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else id(key)
                if name in lines and name != "<<":
                    message = f"stands twice here, first on line {lines[name]}"
                    yield Problem(str(name), self.source(key), message)
                lines.setdefault(name, key.start_mark.line + 1)
                yield from self.repeated(value, seen)


def read_file(path: Path) -> FileContent:
    """Keys without a value (null) count as unset. What is wrong comes back as problems, never raised."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        return FileContent(problems=(Problem("", str(path), f"cannot be read: {error.strerror}"),))
    if len(text) > _MAX_BYTES:
        return FileContent(problems=(Problem("", str(path), "is larger than 1 MB"),))
    try:
        return _content(path, text)
    except yaml.YAMLError as error:
        return FileContent(problems=(_syntax(path, error),))
    except (RecursionError, ValueError) as error:
        return FileContent(problems=(Problem("", str(path), f"is not a configuration ({error})"),))


def _syntax(path: Path, error: yaml.YAMLError) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return Problem("", f"{path}:{error.problem_mark.line + 1}", f"is not YAML: {error.problem}")
    return Problem("", str(path), "is not YAML in UTF-8")


def _content(path: Path, text: bytes) -> FileContent:
    document = _Pairs(path, text)
    root = document.root()
    if root is None or (isinstance(root, yaml.ScalarNode) and document.value(root) is None):
        return FileContent()
    if not isinstance(root, yaml.MappingNode):
        return FileContent(
            problems=(Problem("", document.source(root), "should hold sections such as api:"),)
        )
    problems = list(document.repeated(root, set()))
    given: list[Given] = []
    for name, key, value in document.pairs(root):
        found = (
            _section(document, name, key, value) if name in SECTIONS else [_entry(document, name, key, value)]
        )
        given += [one for one in found if isinstance(one, Given) and one.value is not None]
        problems += [one for one in found if isinstance(one, Problem)]
    return FileContent(tuple(given), tuple(problems))


def _section(document: _Pairs, name: str, key: yaml.Node, node: yaml.Node) -> list[Given | Problem]:
    if isinstance(node, yaml.MappingNode):
        return [_entry(document, f"{name}.{inner}", at, value) for inner, at, value in document.pairs(node)]
    if document.value(node) is None:
        return []
    return [Problem(name, document.source(key), "should be a section with keys of its own")]


def _entry(document: _Pairs, name: str, key: yaml.Node, node: yaml.Node) -> Given | Problem:
    known = fields()
    if name in known:
        return Given(name, document.value(node), document.source(key))
    return Problem(name, document.source(key), f"unknown key{nearest(name, {*known, *SECTIONS})}")
