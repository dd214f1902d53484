"""Changed copies of a configuration, which itself never changes."""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError

from wings.config.models import Config
from wings.config.problems import InvalidConfiguration, Problem
from wings.config.section import Section
from wings.config.tree import Place

S = TypeVar("S", bound=Section)


def with_values(config: Config, values: Mapping[str, object], source: str = "change") -> Config:
    """A copy with other values at dotted paths, such as ``{"system.user.uid": 988}``.

    Values are checked as those of a file are. Raises ``InvalidConfiguration``, which blames ``source``;
    ``KeyError`` for a path through a section that does not exist.
    """
    for path, value in values.items():
        try:
            config = _changed(config, path.split("."), value)
        except ValidationError as error:
            problems = [
                Problem(Place(source), ".".join(map(str, (*path.split(".")[:-1], *item["loc"]))), item["msg"])
                for item in error.errors(include_url=False, include_context=False, include_input=False)
            ]
            raise InvalidConfiguration(problems) from None
    return config


def _changed(section: S, path: list[str], value: object) -> S:
    name, *below = path
    if below:
        inner = getattr(section, name) if name in type(section).model_fields else None
        if not isinstance(inner, Section):
            raise KeyError(name)
        value = _changed(inner, below, value)
    return type(section).model_validate({**dict(section), name: value})
