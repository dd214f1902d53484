"""The configuration as plain data, and that as YAML in the style of config §1.4."""

import re
from enum import Enum
from io import StringIO
from typing import TypeAlias, TypeGuard
from uuid import UUID

import yaml

from wings.config.models import Config
from wings.config.parsers import Address, Network
from wings.config.quantities import Rate, Secret, Size
from wings.config.section import Section, is_optional
from wings.config.tree import BOOLEANS, ListNode, MapNode, Scalar

Data: TypeAlias = "str | int | float | bool | Scalar | MapNode | ListNode | dict[str | int, Data] | list[Data] | None"
Document: TypeAlias = "dict[str | int, Data]"

# Words and figures that some YAML 1.1 or 1.2 reader takes for something else than text. PyYAML's own
# resolver, which the writer asks as well, knows 1.1 but not these.
_WORDS = frozenset({"y", "Y", "n", "N", "<<", "=", "~", "null", "Null", "NULL"}) | BOOLEANS.keys()
_FIGURES = re.compile(
    r"""[-+]? ( [0-9][0-9_,]* (\.[0-9_]*)? | \.[0-9][0-9_]* ) ([eE][-+]?[0-9]*)?
    | [-+]? ( 0[xob][0-9a-fA-F_]+ | \.(inf|Inf|INF) )
    | \.(nan|NaN|NAN)
    | [-+]?[0-9_]+(:[0-9_.]+)+
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*""",
    re.VERBOSE,
)


def document(config: Section) -> Document:
    """Every key of a section in the fixed order, values in the form they are written in, unknown keys last.

    Secrets are in it, in the form the file has them (``file://…`` stays). For the file only.
    """
    result: Document = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if not (value is None and is_optional(field)):
            result[name] = _written(value)
    for name, value in (config.model_extra or {}).items():
        result[name] = _written(value)
    return result


def changes(config: Config) -> Document:
    """Only the keys whose value is not the default, and unknown ones."""
    return _difference(document(config), document(Config()))


def to_yaml(data: Document) -> str:
    """YAML text: two spaces, fixed order, quotes around every string that could be taken for anything else."""
    out = StringIO()
    yaml.dump(data, out, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=10**9)
    return out.getvalue()


def _difference(data: Document, base: Document) -> Document:
    result: Document = {}
    for name, value in data.items():
        other = base.get(name)
        if _is_section(value) and _is_section(other):
            below = _difference(value, other)
            if below:
                result[name] = below
        elif name not in base or value != other:
            result[name] = value
    return result


def _is_section(value: Data) -> TypeGuard[Document]:
    return isinstance(value, dict) and not isinstance(value, MapNode) and bool(value)


def _written(value: object) -> Data:
    if isinstance(value, (Scalar, MapNode, ListNode)):
        return value
    if isinstance(value, Section):
        return document(value)
    if isinstance(value, dict):
        return {name: _written(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_written(item) for item in value]
    return _single(value)


def _single(value: object) -> str | int | float | None:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, (Secret, Rate, Size)):
        return value.written
    if isinstance(value, Network):
        bare = value.prefixlen == value.max_prefixlen
        return str(value.network_address) if bare else str(value)
    if isinstance(value, (UUID, Address)):
        return str(value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"a configuration value cannot be a {type(value).__name__}")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True

    def text(self, data: str) -> yaml.ScalarNode:
        style = None
        if any(char < " " or char in "\x7f\x85\u2028\u2029\ufeff" for char in data):
            style = '"'
        elif data in _WORDS or _FIGURES.fullmatch(data):
            style = "'"
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def as_read(self, data: Scalar) -> yaml.ScalarNode:
        """An unknown key's value: without quotes again if it had none, so that it keeps its meaning."""
        if not data.plain:
            return self.represent_scalar("tag:yaml.org,2002:str", data.text, style='"' if "\n" in data.text else "'")
        tag = self.resolve(yaml.ScalarNode, data.text, (True, False))  # type: ignore[no-untyped-call]  # not in its stubs
        return self.represent_scalar(tag, data.text)

    def mapping(self, data: MapNode) -> yaml.MappingNode:
        return self.represent_dict(data.items())

    def sequence(self, data: ListNode) -> yaml.SequenceNode:
        return self.represent_list(data)


_Dumper.add_representer(str, _Dumper.text)
_Dumper.add_representer(Scalar, _Dumper.as_read)
_Dumper.add_representer(MapNode, _Dumper.mapping)
_Dumper.add_representer(ListNode, _Dumper.sequence)
