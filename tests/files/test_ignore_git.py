"""Ignore rules against git, which wrote down what they mean, and against the library they come from.

Ours differ from git's on purpose, and the generated lists stay clear of it: a ``!`` line reaches below
excluded directories and speaks about everything below what it names, so lists with ``!`` hold only patterns
that can match nothing but files; ``x/**`` includes ``x`` itself, which shows only in directories and is left
out there; lines are trimmed on both sides, so no pattern holds a blank; POSIX classes and backslashes inside
brackets are not special, and a bracket with a slash in it is no pattern; two stars that are no whole name are one
(git says so and does otherwise); ``?`` and brackets take a character where git takes a byte, so names stay ASCII.
"""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from wings.files.ignore import Decision, Rules
from wings.files.ignore_patterns import UnusableLine, compile_any, parse_line

DIRECTORIES = ("d", "e", "d/e", "d/d", "e/f.d", "d/e/d", "d/e/d/e", "e/f.d/dd")
FILES = ("f", "g.txt", "ff", "x-1.log", "a]b", "#h", "!n")

LENIENT = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work tree with every file name in every directory."""
    root = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "--quiet", root], check=True)
    for directory in ("", *DIRECTORIES):
        (root / directory).mkdir(exist_ok=True)
        for file in FILES:
            (root / directory / file).touch()
    return root


def asked_of_git(repository: Path, lines: Sequence[str], paths: Sequence[str]) -> set[str]:
    """The paths that git ignores."""
    (repository / ".git" / "info" / "exclude").write_text("".join(f"{line}\n" for line in lines))
    answer = subprocess.run(
        ["git", "-C", repository, "check-ignore", "--no-index", "--stdin", "-z"],
        input="".join(f"{path}\0" for path in paths).encode(),
        capture_output=True,
        check=False,
    )
    assert answer.returncode in (0, 1), answer.stderr
    return {path for path in answer.stdout.decode().split("\0") if path}


def asked_of_ours(lines: Sequence[str], paths: Sequence[str]) -> set[str]:
    """The paths that a walk does not store; what is below an excluded directory is never reached."""
    rules = Rules.compile(lines)
    left_out = set()
    for path in paths:
        parts = path.split("/")
        parents = ["/".join(parts[:count]) for count in range(1, len(parts))]
        shut = any(rules.decide(parent.encode(), True) is Decision.EXCLUDE for parent in parents)
        if shut or rules.decide(path.encode(), path in DIRECTORIES) is not Decision.INCLUDE:
            left_out.add(path)
    return left_out


ALL_FILES = tuple(f"{directory}/{file}".removeprefix("/") for directory in ("", *DIRECTORIES) for file in FILES)

SEGMENTS = st.one_of(
    st.sampled_from(["d", "e", "f", "g.txt", "*", "?", "d*", "*.txt", "f.?", "[de]", "[!d]", "[^ef]", "*-[0-9].*"]),
    st.sampled_from(["x*1*g", "[", "[a", "[z-a]", "a]b", "\\#h", "\\!n", "\\d", "f\\", "[]]", "a[]]b"]),
    st.text("def*?.", min_size=1, max_size=4).filter(lambda text: text.strip(".")),
)
PATTERNS = st.builds(
    lambda front, segments, back: front + "/".join(segments) + back,
    st.sampled_from(["", "/", "**/"]),
    st.lists(st.one_of(SEGMENTS, st.just("**")), min_size=1, max_size=3),
    st.sampled_from(["", "/", "/**"]),
).filter(lambda pattern: re.search(r"\[[^]]*/|[^/]\*\*|\*\*[^/]", pattern) is None)


@pytest.mark.peer("git")
@LENIENT
@given(lines=st.lists(PATTERNS, min_size=1, max_size=4))
def test_lists_without_return_agree_with_git(repository: Path, lines: list[str]) -> None:
    """W-17: what is left out is what git leaves out."""
    paths = ALL_FILES if any("/**" in line for line in lines) else (*ALL_FILES, *DIRECTORIES)
    assert asked_of_ours(lines, paths) == asked_of_git(repository, lines, paths)


FILE_PATTERNS = st.builds(
    lambda back, front, file: back + front + file,
    st.sampled_from(["", "!"]),
    st.sampled_from(["", "/", "**/", "d/", "/d/e/", "d/**/", "*/", "/**/d/", "e/*/"]),
    st.sampled_from([*FILES[:5], "g.*", "*.txt", "*.[lt]*", "x-?.log", "?f", "[f]", "a[]]b", "f*f"]),
)


@pytest.mark.peer("git")
@LENIENT
@given(lines=st.lists(FILE_PATTERNS, min_size=1, max_size=6))
def test_lists_of_files_with_return_agree_with_git(repository: Path, lines: list[str]) -> None:
    """W-17: a ``!`` line brings back exactly the files that it brings back in git."""
    assert asked_of_ours(lines, ALL_FILES) == asked_of_git(repository, lines, ALL_FILES)


@pytest.mark.peer("git")
def test_a_long_mixed_list_agrees_with_git(repository: Path) -> None:
    lines = ["*.txt", "!g.txt", "/d/*.txt", "!/d/e/g.txt", "**/x-*", "!d/**/x-1.log", "\\!n", "[#]h", "ff", "!/ff"]
    assert asked_of_ours(lines, ALL_FILES) == asked_of_git(repository, lines, ALL_FILES)


@settings(max_examples=400, deadline=None)
@given(
    pattern=PATTERNS.filter(lambda pattern: "[!" not in pattern and "[^" not in pattern),
    path=st.lists(st.text("def.x-1g", min_size=1, max_size=5), min_size=1, max_size=5).map("/".join),
    directory=st.booleans(),
)
def test_made_linear_a_pattern_means_the_same(pattern: str, path: str, directory: bool) -> None:
    """Our form of an expression matches what pathspec's own matches."""
    try:
        line = parse_line(pattern)
    except UnusableLine:
        return
    if pattern.endswith("/**/"):
        pattern += "*/"
    regex, _ = GitIgnoreSpecPattern.pattern_to_regex(pattern)
    assert regex is not None
    subject = path + "/" if directory else path
    assert (compile_any([line]).match(subject) is None) == (re.search(regex, subject) is None)


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(st.builds(str.__add__, st.sampled_from(["", "", "!"]), PATTERNS), max_size=6),
    path=st.lists(st.sampled_from(["d", "e", "f", "g.txt", "f.d", "dd"]), min_size=2, max_size=5),
)
def test_everything_that_comes_back_is_reached(lines: list[str], path: list[str]) -> None:
    """W-17: above every path that is included no directory is shut."""
    rules = Rules.compile(lines)
    if rules.decide("/".join(path).encode(), False) is Decision.INCLUDE:
        parents = ["/".join(path[:count]).encode() for count in range(1, len(path))]
        assert Decision.EXCLUDE not in [rules.decide(parent, True) for parent in parents]
