"""A configuration document before it is given types: text, lists and mappings that know their line.

Scalars stay the text they were written as, because only the key they belong to can say what they mean:
``+10:00`` is a time zone, ``1234567890123456`` a token and ``no`` a user name (config §1.3).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")

BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value comes from: a file and line, or something named in words."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as written. ``plain`` means without quotes: only then can it be a number, boolean or null."""

    text: str = field(repr=False)  # may be a secret
    plain: bool
    place: Place = field(compare=False)

    @property
    def is_null(self) -> bool:
        """Whether this is an absent value (``~``, ``null`` or nothing at all, unquoted)."""
        return self.plain and self.text in _NULLS

    @property
    def value(self) -> str | int | float | bool | None:
        """The meaning by the YAML 1.2 core schema, for keys no model describes."""
        if not self.plain:
            return self.text
        if self.text in _NULLS:
            return None
        if self.text in BOOLEANS:
            return BOOLEANS[self.text]
        if _INTEGER.fullmatch(self.text):
            return int(self.text)
        if _FLOAT.fullmatch(self.text):
            return float(self.text)
        return self.text


class MapNode(dict[str, "Tree"]):
    """A mapping; ``places`` says where each key stands."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, Place] = {}

    def set(self, key: str, value: "Tree", place: Place) -> None:
        """Put a member in, with the place to blame when it turns out to be wrong."""
        self[key] = value
        self.places[key] = place


class ListNode(list["Tree"]):
    """A list; ``places`` says where each item stands."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[Place] = []

    def add(self, value: "Tree", place: Place) -> None:
        """Append an item, with the place to blame when it turns out to be wrong."""
        self.append(value)
        self.places.append(place)


Tree: TypeAlias = Scalar | MapNode | ListNode


def find(tree: MapNode, path: str) -> Tree | None:
    """The value at a dotted path, or ``None`` when it is missing or null (both mean: the default)."""
    node: Tree = tree
    for part in path.split("."):
        if not isinstance(node, MapNode) or part not in node:
            return None
        node = node[part]
    return None if isinstance(node, Scalar) and node.is_null else node


def put(tree: MapNode, path: str, value: Tree, place: Place) -> None:
    """Set the value at a dotted path, making sections as needed.

    Where a section is something else, for example a number, nothing happens: validation will say so.
    """
    *sections, last = path.split(".")
    node = tree
    for part in sections:
        below = node.get(part)
        if below is None or (isinstance(below, Scalar) and below.is_null):
            below = MapNode()
            node.set(part, below, node.places.get(part, place))
        if not isinstance(below, MapNode):
            return
        node = below
    node.set(last, value, place)


def place_of(tree: MapNode, path: tuple[str | int, ...], default: Place) -> Place:
    """Where the value at ``path`` stands; for a missing one the nearest section around it."""
    place = default
    node: Tree = tree
    for part in path:
        match node, part:
            case MapNode(), str() if part in node:
                place, node = node.places[part], node[part]
            case ListNode(), int() if part < len(node):
                place, node = node.places[part], node[part]
            case _:
                break
    return place


def leaves(tree: Tree, prefix: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Tree]]:
    """Every scalar and every empty container with its path."""
    if isinstance(tree, Scalar) or not tree:
        yield prefix, tree
    elif isinstance(tree, MapNode):
        for key, value in tree.items():
            yield from leaves(value, (*prefix, key))
    else:
        for index, item in enumerate(tree):
            yield from leaves(item, (*prefix, index))
