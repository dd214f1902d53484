"""Reads YAML into a tree of text with line numbers, without giving any scalar a meaning (config §1.3).

PyYAML composes nodes with its base loader, which resolves nothing; YAML 1.1's octal, sexagesimal, date and
yes/no readings therefore never happen. Anchors, aliases and ``<<`` are understood, because files of the
Go daemons may use them; tags other than those of the core schema are refused.
"""

import yaml

from wings.config.problems import Problem
from wings.config.tree import ListNode, MapNode, Place, Scalar, Tree

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_CORE_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))
_MAX_NODES = 100_000  # a real file has 400; this stops aliases that multiply without end


def parse_document(text: str, source: str) -> tuple[MapNode, list[Problem]]:
    """Parse one document whose top level is a mapping; nothing at all counts as an empty one.

    Problems are collected, so that the rest of the document can still be checked: broken syntax, several
    documents, duplicate keys (with both lines), foreign tags.
    """
    tree, problems = parse_value(text, Place(source, 1), counts_lines=True)
    if isinstance(tree, MapNode):
        return tree, problems
    if not problems and not (isinstance(tree, Scalar) and tree.is_null):
        problems.append(Problem(Place(source, 1), "", "the file must be a mapping of keys to values"))
    return MapNode(), problems


def parse_value(text: str, place: Place, *, counts_lines: bool = False) -> tuple[Tree, list[Problem]]:
    """Parse one value of any kind. Without ``counts_lines`` everything in it is blamed on ``place``."""
    reader = _Reader(place, counts_lines)
    nothing = Scalar("", plain=True, place=place)
    try:
        node = yaml.compose(text, Loader=_LOADER)
        return (nothing if node is None else reader.convert(node, ())), reader.problems
    except yaml.MarkedYAMLError as error:
        # Only `problem` and the line: the library's own text quotes the file, which may hold a secret.
        mark = error.problem_mark or error.context_mark
        where = place if mark is None else reader.place(mark)
        what = error.problem or error.context or "cannot be parsed"
        reader.problems.append(Problem(where, "", f"not valid YAML: {what}"))
    except yaml.YAMLError:
        line = _line_of_bad_character(text)
        where = Place(place.source, line) if counts_lines and line else place
        reader.problems.append(Problem(where, "", "not valid YAML: it contains a control character"))
    except RecursionError:
        reader.problems.append(Problem(place, "", "not usable: nested too deeply"))
    except _TooLarge:
        reader.problems.append(Problem(place, "", f"not usable: more than {_MAX_NODES} values"))
    return nothing, reader.problems


class _TooLarge(Exception):
    pass


class _Reader:
    def __init__(self, origin: Place, counts_lines: bool) -> None:
        self._origin = origin
        self._counts_lines = counts_lines
        self._nodes = 0
        self._open: set[int] = set()  # nodes being converted: an alias to one of them is a circle
        self.problems: list[Problem] = []

    def place(self, mark: yaml.Mark) -> Place:
        return Place(self._origin.source, mark.line + 1) if self._counts_lines else self._origin

    def convert(self, node: yaml.Node, path: tuple[str, ...]) -> Tree:
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise _TooLarge
        place = self.place(node.start_mark)
        if node.tag not in _CORE_TAGS:
            self._complain(place, path, f"the tag {node.tag} is not supported")
        if isinstance(node, yaml.ScalarNode):
            return Scalar(node.value, plain=node.style in (None, ""), place=place)
        if id(node) in self._open:
            self._complain(place, path, "refers to itself")
            return Scalar("", plain=True, place=place)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            return self._list(node, path)
        finally:
            self._open.remove(id(node))

    def _list(self, node: yaml.Node, path: tuple[str, ...]) -> ListNode:
        result = ListNode()
        for index, item in enumerate(node.value):
            result.add(self.convert(item, (*path, str(index))), self.place(item.start_mark))
        return result

    def _mapping(self, node: yaml.MappingNode, path: tuple[str, ...]) -> MapNode:
        result = MapNode()
        merged: list[MapNode] = []
        for key, value in node.value:
            place = self.place(key.start_mark)
            if not isinstance(key, yaml.ScalarNode):
                self._complain(place, path, "a key must be text, not a list or a mapping")
                continue
            name = key.value
            tree = self.convert(value, (*path, name))
            if name == "<<" and key.style in (None, ""):
                merged.extend(self._merge_sources(tree, place, path))
            elif name in result:
                first = result.places[name].line
                said = f" (first in line {first})" if first is not None else ""
                self._complain(place, (*path, name), f"is given twice{said}")
            else:
                result.set(name, tree, place)
        for source in merged:
            for name, tree in source.items():
                if name not in result:
                    result.set(name, tree, source.places[name])
        return result

    def _merge_sources(self, tree: Tree, place: Place, path: tuple[str, ...]) -> list[MapNode]:
        sources = tree if isinstance(tree, ListNode) else [tree]
        if all(isinstance(source, MapNode) for source in sources):
            return [source for source in sources if isinstance(source, MapNode)]
        self._complain(place, path, "<< needs a mapping to merge, or a list of mappings")
        return []

    def _complain(self, place: Place, path: tuple[str, ...], message: str) -> None:
        self.problems.append(Problem(place, ".".join(path), message))


def _line_of_bad_character(text: str) -> int | None:
    position = next((at for at, char in enumerate(text) if char < " " and char not in "\t\n\r"), None)
    return None if position is None else text.count("\n", 0, position) + 1
