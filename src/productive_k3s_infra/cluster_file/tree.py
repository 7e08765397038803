"""PURE: the text of a cluster file as plain values, each with its line and column, variables replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from productive_k3s_infra.cluster_file.mistake import Found, Mistake, Objection, Path, found, quoted
from productive_k3s_infra.cluster_file.substitute import substitute

# Anchors can make a small text huge; nobody's cluster file has so many values.
MOST_VALUES = 20_000
_TAG = "tag:yaml.org,2002:"
_TAB_INDENT = re.compile(r" *\t")


class Empty:
    """The value of a key behind which nothing stands."""

    def __str__(self) -> str:
        return "nothing"


EMPTY: Final = Empty()


@dataclass(frozen=True)
class Place:
    """A line and column, from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Tree:
    """What the file says. `broken` are the paths whose value is unknown because a mistake was found in reading them."""

    value: Any
    keys: Mapping[Path, Place]
    values: Mapping[Path, Place]
    broken: frozenset[Path] = frozenset()

    def get(self, *path: str | int) -> Any:
        """Return what stands at a path, None if nothing usable does."""
        value = self.value
        for index, part in enumerate(path, 1):
            inside = isinstance(value, dict) if isinstance(part, str) else isinstance(value, list)
            if not inside or path[:index] in self.broken:
                return None
            if isinstance(value, list) and isinstance(part, int):
                value = value[part] if part < len(value) else None
            else:
                value = value.get(part)
        return None if value is EMPTY else value

    def mapping(self, *path: str | int) -> dict[str, Any]:
        """Return the mapping at a path, {} if there is none."""
        value = self.get(*path)
        return value if isinstance(value, dict) else {}

    def text(self, *path: str | int) -> str | None:
        """Return the string at a path, None if there is none."""
        value = self.get(*path)
        return value if isinstance(value, str) else None

    def items(self, *path: str | int) -> Iterator[tuple[Path, Any]]:
        """Yield path and value of each item of the list at a path; a single string counts as a list of one."""
        value = self.get(*path)
        if isinstance(value, str):
            yield path, value
        for index in range(len(value)) if isinstance(value, list) else ():
            yield (*path, index), self.get(*path, index)

    def place(self, item: Found) -> Place:
        """Return where an objection is shown: at the value, or at the nearest thing around it that is written."""
        path = item.path
        if item.at_key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, Place(1, 1))


@dataclass
class _Reading:
    environment: Mapping[str, str]
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    broken: set[Path] = field(default_factory=set)
    mistakes: list[Found] = field(default_factory=list)
    above: list[Node] = field(default_factory=list)

    def object_to(self, path: Path, objection: Objection, *, at_key: bool = False) -> Empty:
        self.broken.add(path)
        self.mistakes.append(Found(path, objection, at_key))
        return EMPTY

    def read(self, node: Node, path: Path) -> Any:
        self.values[path] = _place(node.start_mark)
        if len(self.values) > MOST_VALUES:
            raise _TooLarge
        if any(node is other for other in self.above):
            return self.object_to(path, Objection("file.syntax", "an alias is inside its own anchor"))
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        tag = str(node.tag or "").removeprefix(_TAG)
        if tag not in {"map", "seq"}:
            return self.object_to(path, _odd_tag(node))
        self.above.append(node)
        value: Any
        if isinstance(node, MappingNode):
            value = self._mapping(node, path)
        else:
            value = [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        self.above.pop()
        return value

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode) or key_node.tag == f"{_TAG}merge":
                self.values[(*path, "<<")] = _place(key_node.start_mark)
                remedy = "write the keys out"
                odd = Objection(
                    "file.syntax", "a merge (<<) or a key that is not a word cannot be used here", remedy=remedy
                )
                self.object_to((*path, "<<"), odd)
                continue
            key = str(key_node.value)
            here = (*path, key)
            place = _place(key_node.start_mark)
            if key in result:
                first = self.keys[here]
                again = (*path, key, len(self.values))
                self.values[again] = place
                what = f"the key {quoted(key)} appears twice"
                remedy = f"the first one is in line {first.line}"
                self.mistakes.append(found(again, "file.duplicate-key", what, remedy=remedy))
                continue
            self.keys[here] = place
            result[key] = self.read(value_node, here)
            if isinstance(value_node, ScalarNode) and not value_node.value:
                self.values[here] = place  # where nothing is written, the parser's mark is that of the next line
        return result

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        text = str(node.value)
        tag = str(node.tag or "").removeprefix(_TAG)
        if tag in {"str", "timestamp"}:  # YAML 1.2 knows no dates: a date is its letters
            value, objections = substitute(text, self.environment)
            for objection in objections:
                self.object_to(path, objection)
            return value
        if tag == "null":
            return EMPTY
        if tag not in {"int", "float", "bool"}:
            return self.object_to(path, _odd_tag(node))
        try:
            return YAML(typ="safe", pure=True).constructor.construct_object(node)
        except Exception:  # noqa: BLE001 - `!!int x` raises whatever the number's parser does
            return self.object_to(path, Objection("file.wrong-type", f"{quoted(text)} is not of the type {tag}"))


class _TooLarge(Exception):
    pass


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _odd_tag(node: Node) -> Objection:
    return Objection("file.syntax", f"the YAML tag {quoted(node.tag)} cannot be used here", remedy="leave the tag out")


def read_tree(text: str, environment: Mapping[str, str], *, file: str) -> tuple[Tree | None, tuple[Mistake, ...]]:
    """Return the tree and what was wrong in reading it; without a tree the text is no YAML at all."""
    root: Node | None
    try:
        yaml = YAML(typ="rt")
        yaml.composer.warn_double_anchors = False
        root = yaml.compose(text)
        if root is None or root.tag == f"{_TAG}null":
            return None, (_empty(file),)
        reading = _Reading(environment)
        value = reading.read(root, ())
    except MarkedYAMLError as error:
        return None, (_syntax(error, text, file),)
    except (_TooLarge, RecursionError):
        what = f"the file is nested too deep or has more than {MOST_VALUES} values"
        return None, (Mistake(file, 1, 1, what, code="file.syntax"),)
    except Exception as error:  # noqa: BLE001 - ruamel raises ValueError, KeyError and others for some unfit texts
        return None, (_unfit(error, text, file),)
    tree = Tree(value, reading.keys, reading.values, frozenset(reading.broken))
    return tree, tuple(mistake_at(tree, item, file) for item in reading.mistakes)


def mistake_at(tree: Tree, item: Found, file: str) -> Mistake:
    """Give an objection its place in the file."""
    place, said = tree.place(item), item.objection
    return Mistake(file, place.line, place.column, said.what, said.expected, said.remedy, said.code)


def _empty(file: str) -> Mistake:
    return Mistake(file, 1, 1, "the file is empty", remedy="pk3s init writes a first one", code="file.empty")


def _syntax(error: MarkedYAMLError, text: str, file: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    place = _place(mark) if mark is not None else Place(1, 1)
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    tab = _TAB_INDENT.match(line)
    if tab:
        what, remedy = "a tab in the indentation", "indent with spaces"
        return Mistake(file, place.line, tab.end(), what, remedy=remedy, code="file.tab")
    if "expected a single document" in str(error.context):
        what, remedy = "a second document begins here", "one cluster is one file: name others with -f"
        return Mistake(file, place.line, place.column, what, remedy=remedy, code="file.two-documents")
    remedy = 'inside {} and [] a variable needs quotes: "${NAME}"' if "${" in line else ""
    what = f"not YAML: {error.problem or error.context or 'unreadable'}"
    return Mistake(file, place.line, place.column, what, remedy=remedy, code="file.syntax")


def _unfit(error: Exception, text: str, file: str) -> Mistake:
    position = getattr(error, "position", None)
    before = text[:position] if isinstance(position, int) else ""
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    reason = getattr(error, "reason", "") or type(error).__name__
    return Mistake(file, line, column, f"not YAML: {reason}", code="file.syntax")
