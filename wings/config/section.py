"""The base of all configuration sections, and how a key is declared in them."""

from enum import StrEnum
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from wings.config.parsers import kind_of
from wings.config.tree import Scalar

T = TypeVar("T")


class Apply(StrEnum):
    """When a changed value takes effect (the column of config §7)."""

    BOOT = "at the next start of the daemon"
    CONTAINER = "when the next container is created"
    LIVE = "at once"


def _as_it_is(value: object) -> object:
    return value


# Keys no model knows: kept as they were read, so that they can be written back unchanged.
Unknown = Annotated[object, PlainValidator(_as_it_is)]


class Section(BaseModel):
    """A mapping with known keys. All of them may be left out or null, which means the default.

    Unknown keys are kept (``model_extra``) and written back, but never shown: one might be a misspelt
    secret. Sections do not change: ``wings.config.change`` makes changed copies. ``wings.config.document``
    turns them back into plain data; pydantic's own dumps are not meant for that.
    """

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True)

    __pydantic_extra__: dict[str, Unknown]

    @model_validator(mode="before")
    @classmethod
    def _nulls_are_defaults(cls, value: object) -> object:
        if not isinstance(value, dict):
            raise PydanticCustomError(
                "setting", "{kind} does not fit, expected keys and values", {"kind": kind_of(value)}
            )
        return {name: member for name, member in value.items() if not (name in cls.model_fields and _is_null(member))}

    def __repr_args__(self) -> Any:
        # The type is pydantic's own; extra keys are left out of every representation.
        return [(name, value) for name, value in super().__repr_args__() if name in type(self).model_fields]


def key(default: T, description: str, apply: Apply = Apply.LIVE) -> T:
    """Declare a key with its default, what it does, and when a change of it takes effect."""
    declared: Any = Field(default=default, description=description, json_schema_extra={"apply": apply.value})
    return cast("T", declared)  # once the class is made, the attribute is a plain value of this type


def optional(description: str, apply: Apply = Apply.LIVE) -> Any:
    """Declare a key that other daemons know: honoured when it is there, and written only then."""
    return Field(default=None, description=description, json_schema_extra={"apply": apply.value, "optional": True})


def must(description: str) -> Any:
    """Declare a key that has no default, inside entries of maps and lists."""
    return Field(description=description)


def section(model: type[T], description: str) -> T:
    """Declare a section below this one."""
    declared: Any = Field(default_factory=model, description=description)
    return cast("T", declared)


def is_optional(field: FieldInfo) -> bool:
    """Whether the key was declared with ``optional``."""
    return isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("optional") is True


def applies(field: FieldInfo) -> str:
    """When a change of the key takes effect; empty for sections and entries."""
    extra = field.json_schema_extra
    return str(extra.get("apply", "")) if isinstance(extra, dict) else ""


def _is_null(value: object) -> bool:
    return value is None or (isinstance(value, Scalar) and value.is_null)
