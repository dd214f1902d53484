"""Judging the names and link targets of archives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wings.archives.names import HostileName, is_odd, judge, judge_target


@pytest.mark.parametrize(
    ("name", "path", "odd"),
    [
        (b"a", b"a", False),
        (b"a/b/c", b"a/b/c", False),
        (b"./a/b", b"a/b", False),
        (b"a/", b"a", False),
        (b"./", b"", False),
        (b".", b"", True),
        (b"", b"", False),
        (b"/", b"", False),
        (b"/etc/passwd", b"etc/passwd", True),
        (b"//a//b//", b"a/b", True),
        (b"././a", b"a", True),
        (b"a/./b/.", b"a/b", True),
        (b".hidden/..data/...", b".hidden/..data/...", False),
        (b"a/.b", b"a/.b", False),
        (b"C:\\a\\..\\b", b"C:\\a\\..\\b", False),
        (b"new\nline\xff", b"new\nline\xff", False),
        (b"n" * 255 + b"/" + b"m" * 255, b"n" * 255 + b"/" + b"m" * 255, False),
    ],
)
def test_names_become_clean_relative_paths(name: bytes, path: bytes, odd: bool) -> None:
    assert judge(name) == path
    assert is_odd(name, path) == odd


@pytest.mark.parametrize(
    "name",
    [
        b"..",
        b"../",
        b"../a",
        b"a/..",
        b"a/../b",
        b"/..",
        b"./..",
        b".//../a",
        b"a\0b",
        b"\0",
        b"n" * 256,
        b"a/" + b"n" * 256 + b"/b",
        b"./" + b"n" * 256,
    ],
)
def test_hostile_names_are_refused(name: bytes) -> None:
    """P8: no guess at what a name with .. or NUL may have meant."""
    with pytest.raises(HostileName):
        judge(name)


@given(st.lists(st.sampled_from([b"a", b".", b"..", b"", b"...", b".b", b"\0", b"n" * 256, b"c d"]), max_size=8))
def test_what_is_judged_can_be_handed_to_a_target(parts: list[bytes]) -> None:
    """P8: no empty, ``.`` or ``..`` part, no NUL, not absolute, no part too long; and judging again changes nothing."""
    name = b"/".join(parts)
    try:
        path = judge(name)
    except HostileName:
        assert b".." in parts or b"\0" in parts or b"n" * 256 in parts
        return
    assert not any(part in (b"", b".", b"..") or len(part) > 255 for part in path.split(b"/")) or path == b""
    assert b"\0" not in path
    assert judge(path) == path
    assert path.split(b"/") == [part for part in parts if part not in (b"", b".")] or path == b""


def test_link_targets_are_kept_exactly() -> None:
    """W-4: relative, absolute, dangling, long: the text stays, or the link is refused; nothing is rewritten."""
    for target in (b"a", b"../../x", b"/etc/passwd", b"./a//b/", b"t" * 120, b"t" * 4095, b"\xff\n"):
        assert judge_target(target) is target
    for target in (b"", b"a\0b", b"t" * 4096):
        with pytest.raises(HostileName):
            judge_target(target)
