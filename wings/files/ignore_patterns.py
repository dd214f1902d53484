"""One gitignore line as a regular expression that is safe to run on hostile names.

What a line means comes from pathspec. Its expressions are made for well-meaning users, though: several
``*`` in one name, or several ``**``, backtrack for years on a name made for it, while the interpreter is
locked. So they are taken apart and put together again such that each star settles on its first fit, which
for globs finds the same names in linear time.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

_LONGEST_LINE = 4096  # no path that the kernel takes at once is longer


class UnusableLine(ValueError):
    """The line is no pattern: an unclosed bracket, a lone backslash, an impossible range, or far too long."""


@dataclass(frozen=True, slots=True)
class Line:
    """A usable line: whether it brings back (``!``), what it says apart from that, and its expression.

    ``floating`` says that the expression may begin to match at any depth.
    """

    includes: bool
    pattern: str
    expression: str
    floating: bool


def parse_line(text: str) -> Line:
    """Translate one trimmed line that is neither blank nor a comment. Raises ``UnusableLine``."""
    pattern = text.removeprefix("!")
    if len(text) > _LONGEST_LINE or not pattern.strip("/"):
        raise UnusableLine(text[:80])
    if pattern.endswith("/**/"):
        # Directories below, not the one named and not the files in it; pathspec takes it for all of these.
        text = text.removesuffix("**/") + "**/*/"
    try:
        regex, excludes = GitIgnoreSpecPattern.pattern_to_regex(text)
        if regex is None:
            raise UnusableLine(text)
        expression, floating = _linear(regex)
        if "[" in text:
            re.compile(expression)  # only a range can be wrong by now: [z-a]
    except (ValueError, re.error) as error:
        raise UnusableLine(text) from error
    return Line(not excludes, pattern, expression, floating)


def compile_any(lines: Iterable[Line]) -> re.Pattern[str]:
    """One expression whose ``match`` succeeds if any of the lines speaks about a path.

    Directories are asked with a trailing slash; what lies below a directory matches with it.
    """
    anchored: list[str] = []
    floating: list[str] = []
    for line in lines:
        (floating if line.floating else anchored).append(line.expression)
    if floating:
        anchored.append(f"(?:[^/]*/)*?(?:{'|'.join(floating)})")
    return re.compile("|".join(anchored))


class Ancestry:
    """Tells which directories may hold something that a line brings back."""

    __slots__ = ("_anywhere", "_below", "_exactly")

    def __init__(self, line: Line) -> None:
        segments = line.pattern.strip("/").split("/")
        # Without a slash in front or inside, a line speaks about every depth.
        self._anywhere = "/" not in line.pattern.rstrip("/") or segments[0] == "**"
        self._exactly: re.Pattern[str] | None = None
        self._below: re.Pattern[str] | None = None
        if self._anywhere:
            return
        fixed = segments.index("**") if "**" in segments else len(segments) - 1
        parents = [parse_line("/" + "/".join(segments[:count]) + "/") for count in range(1, fixed + 1)]
        if parents:
            self._exactly = compile_any(parents)
            if "**" in segments:
                self._below = compile_any(parents[-1:])

    def covers(self, directory: str) -> bool:
        """Whether something below ``directory`` (without trailing slash) may match the line."""
        if self._anywhere or (self._exactly is not None and self._exactly.fullmatch(directory + "/") is not None):
            return True
        return self._below is not None and self._below.match(directory + "/") is not None


# pathspec's expressions: "^", perhaps _LEAD, segments with "/" or _GAP and "/" between them, one of the tails.
# Brackets never hold a slash, because patterns are split at slashes first; characters that a pattern names
# are escaped. So these texts cannot come from a pattern.
_LEAD = "(?:.+/)?"
_GAP = "(?:/.+)?"
_TAIL = re.compile(r"(?P<either>\(\?:\(\?P<\w+>/\)\|\$\))\Z|\(\?P<\w+>/\)\Z|/\Z")
_TOKEN = re.compile(r"(?P<star>\[\^/\]\*)|\[\^/\]\+?|(?P<set>\[\^?\]?[^\]]*\])|(?P<slash>/)|\\.|.", re.DOTALL)


def _linear(regex: str) -> tuple[str, bool]:
    """Rewrite an expression for ``search`` into one for ``match``, and tell whether it floats."""
    if not regex.startswith("^"):
        # pathspec's short cuts: "." for any path at all, else anything with a slash.
        return ("." if regex == "." else "[^/]*/"), False
    tail = _TAIL.search(regex)
    if tail is None:
        raise UnusableLine(regex)
    body = regex[1 : tail.start()]
    leading = body.startswith(_LEAD)
    chunks = [_chunk(chunk) for chunk in body.removeprefix(_LEAD).split(_GAP)]
    end = "(?:/|$)" if tail["either"] else "/"
    if len(chunks) == 1:
        return chunks[0] + end, leading
    first = f"(?>(?:[^/]*/)*?{chunks[0]}(?=/))" if leading else chunks[0]
    middle = "".join(f"(?>(?:/[^/]*)*?{chunk}(?=/))" for chunk in chunks[1:-1])
    return f"{first}{middle}(?:/[^/]*)*?{chunks[-1]}{end}", False


def _chunk(chunk: str) -> str:
    """Rewrite what stands between two ``**``: segments of a fixed number."""
    segments: list[str] = []
    pieces = [""]  # of one segment, a "*" between each two
    for token in _TOKEN.finditer(chunk):
        if token["slash"]:
            segments.append(_segment(pieces))
            pieces = [""]
        elif token["star"]:
            pieces.append("")
        else:
            pieces[-1] += _set(token["set"]) if token["set"] else token.group()
    return "/".join([*segments, _segment(pieces)])


def _segment(pieces: list[str]) -> str:
    if len(pieces) == 1:
        return pieces[0]
    settled = "".join(f"(?>[^/]*?{piece})" for piece in pieces[1:-1])
    return f"{pieces[0]}{settled}[^/]*{pieces[-1]}"


def _set(text: str) -> str:
    """A bracket that never matches a slash, and says nothing that a later Python may read as a set operation."""
    negation = "^" if text.startswith("[^") else ""
    body = re.sub(r"(\\\\|[^\\])(?:-(\\\\|[^\\]))?", _escaped_range, text[1 + len(negation) : -1], flags=re.DOTALL)
    return f"(?!/)[{negation}{body}]"


def _escaped_range(match: re.Match[str]) -> str:
    ends = [re.escape(end) if len(end) == 1 else end for end in match.groups() if end]
    return "-".join(ends)
