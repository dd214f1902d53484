"""What can be wrong with a configuration, and how all of it is told at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from wings.config.tree import Place
from wings.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: where, which key (dotted; empty for the file as a whole), and what would be right."""

    place: Place
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.place), self.key, self.message) if part)


class InvalidConfiguration(ConfigurationError):
    """The file cannot be used; the text lists every problem, one per line, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=_by_line))
        if len(self.problems) == 1:
            text = str(self.problems[0])
        else:
            lines = "".join(f"\n  {problem}" for problem in self.problems)
            text = f"{len(self.problems)} problems in the configuration:{lines}"
        super().__init__(text)


class NoConfiguration(ConfigurationError):
    """There is no configuration file; the text says how to get one."""


def _by_line(problem: Problem) -> tuple[bool, int]:
    line = problem.place.line
    return line is None, line or 0
