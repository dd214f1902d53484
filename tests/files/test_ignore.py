"""Ignore rules: what §13 says, table by table; where git must agree, git is asked (test_ignore_git)."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from wings.files.ignore import Decision, Rules, gather
from wings.files.jail import Jail

INCLUDE, EXCLUDE, DESCEND = Decision.INCLUDE, Decision.EXCLUDE, Decision.DESCEND


def kept(lines: Iterable[str], tree: Iterable[str], denylist: Iterable[str] = ()) -> list[str]:
    """What a walk stores of a tree given as paths of files: files and directories, excluded ones not entered."""
    rules = Rules.compile(lines, denylist)
    stored: list[str] = []
    shut: set[str] = set()
    for file in sorted(tree):
        parts = file.split("/")
        for count in range(1, len(parts)):
            directory = "/".join(parts[:count])
            if directory in shut or directory in stored:
                if directory in shut:
                    break
                continue
            decision = rules.decide(directory.encode(), True)
            if decision is INCLUDE:
                stored.append(directory)
            elif decision is EXCLUDE:
                shut.add(directory)
                break
        else:
            decision = rules.decide(file.encode(), False)
            assert decision is not DESCEND
            if decision is INCLUDE:
                stored.append(file)
    return stored


def test_the_worked_example() -> None:
    """W-17: a ``!`` line brings back what it names and makes nothing else a whitelist (§13.2)."""
    lines = ["*", "!server.properties", "!game/csgo/cfg"]
    rules = Rules.compile(lines)
    assert [rules.decide(path, True) for path in (b"game", b"game/csgo", b"game/csgo/cfg")] == [
        DESCEND,
        DESCEND,
        INCLUDE,
    ]
    tree = [
        "server.properties",
        "eula.txt",
        "game/readme",
        "game/csgo/maps/de_nuke.bsp",
        "game/csgo/cfg/autoexec.cfg",
        "game/csgo/cfg/sourcemod/1/plugins.cfg",
        "steamapps/manifest.acf",
    ]
    assert kept(lines, tree) == [
        "game/csgo/cfg",
        "game/csgo/cfg/autoexec.cfg",
        "game/csgo/cfg/sourcemod",
        "game/csgo/cfg/sourcemod/1",
        "game/csgo/cfg/sourcemod/1/plugins.cfg",
        "server.properties",
    ]


def test_one_line_that_brings_back_is_no_whitelist() -> None:
    """W-17: with a lone ``!`` line everything else is still stored."""
    tree = ["keep.txt", "other.txt", "world/level.dat"]
    assert kept(["!keep.txt"], tree) == ["keep.txt", "other.txt", "world", "world/level.dat"]
    assert kept(["*.log", "!keep.log"], ["a.log", "keep.log", "b.txt"]) == ["b.txt", "keep.log"]


@pytest.mark.parametrize(
    ("lines", "path", "directory", "decision"),
    [
        # a pattern without a slash counts at every depth, and for all below a directory
        (["cache"], "cache", True, EXCLUDE),
        (["cache"], "a/b/cache", True, EXCLUDE),
        (["cache"], "a/cache/b/c", False, EXCLUDE),
        (["cache"], "a/cached", False, INCLUDE),
        # anchored by a slash in front or inside
        (["/logs"], "logs", True, EXCLUDE),
        (["/logs"], "a/logs", True, INCLUDE),
        (["a/logs"], "b/a/logs", True, INCLUDE),
        (["a/logs"], "a/logs/x", False, EXCLUDE),
        # directories only
        (["logs/"], "logs", False, INCLUDE),
        (["logs/"], "logs", True, EXCLUDE),
        (["logs/"], "a/logs/x", False, EXCLUDE),
        # wildcards stay within a name
        (["/a*z"], "a/z", False, INCLUDE),
        (["/a*z"], "abcz", False, EXCLUDE),
        (["/a?z"], "a/z", False, INCLUDE),
        (["/a?z"], "aéz", False, EXCLUDE),
        (["/a[!b]z"], "a/z", False, INCLUDE),
        (["/a[+-9]z"], "a/z", False, INCLUDE),
        (["/a[+-9]z"], "a.z", False, EXCLUDE),
        (["[Tt]humbs.db"], "x/thumbs.db", False, EXCLUDE),
        # **
        (["**/x"], "x", False, EXCLUDE),
        (["**/x"], "a/b/x", False, EXCLUDE),
        (["a/**/x"], "a/x", False, EXCLUDE),
        (["a/**/x"], "a/b/c/x", False, EXCLUDE),
        (["a/**/x"], "b/a/x", False, INCLUDE),
        (["a/**"], "a/b/c", False, EXCLUDE),
        (["a/**"], "b/a/c", False, INCLUDE),
        (["a/**/b/**/c"], "a/b/1/b/2/c", False, EXCLUDE),
        (["a/**/b/**/c"], "a/1/2/c", False, INCLUDE),
        # only the directories below: what lies directly in it stays
        (["a/**/"], "a", True, INCLUDE),
        (["a/**/"], "a/file", False, INCLUDE),
        (["a/**/"], "a/b", True, EXCLUDE),
        (["a/**/"], "a/b/file", False, EXCLUDE),
        # escapes
        (["\\#hash"], "#hash", False, EXCLUDE),
        (["\\!bang"], "!bang", False, EXCLUDE),
        (["a\\*"], "a*", False, EXCLUDE),
        (["a\\*"], "ab", False, INCLUDE),
        # case counts
        (["*.LOG"], "a.log", False, INCLUDE),
        # the last line that speaks about a path wins, for all below as well
        (["*.log", "!a.log"], "a.log", False, INCLUDE),
        (["!a.log", "*.log"], "a.log", False, EXCLUDE),
        (["*", "w/tmp", "!w"], "w/tmp/1", False, INCLUDE),
        (["*", "!/w", "/w/tmp"], "w/tmp", True, EXCLUDE),
        (["*", "!w", "tmp"], "w/1/tmp/2", False, EXCLUDE),
        # where something below may come back, and only there
        (["*", "!maps/*/export"], "maps", True, DESCEND),
        (["*", "!maps/*/export"], "maps/east", True, DESCEND),
        (["*", "!maps/*/export"], "maps/east/export", True, INCLUDE),
        (["*", "!maps/*/export"], "maps/east/tiles", True, EXCLUDE),
        (["*", "!maps/*/export"], "other", True, EXCLUDE),
        (["*", "!maps/*/export"], "maps", False, EXCLUDE),
        (["*", "!maps/**/png"], "maps/1/2/3", True, DESCEND),
        (["*", "!maps/**/png"], "maps2", True, EXCLUDE),
        (["*", "!*.txt"], "other", True, DESCEND),
        (["*", "!keep"], "a/b", True, DESCEND),
        (["*", "!/keep"], "a", True, EXCLUDE),
        (["*", "!/a b /c"], "a b ", True, DESCEND),
        (["a", "!a/b/c", "a"], "a", True, EXCLUDE),  # the last line outranks: nothing can come back
        (["/w/old", "!/w/old/spawn"], "w/old", True, DESCEND),
        (["/w/old", "!/w/old/spawn"], "w/old/spawn/r.mca", False, INCLUDE),
        # the root is no entry of its own list
        (["*"], "", True, INCLUDE),
        (["**"], "", True, INCLUDE),
    ],
)
def test_decisions(lines: list[str], path: str, directory: bool, decision: Decision) -> None:
    assert Rules.compile(lines).decide(path.encode(), directory) is decision


@pytest.mark.parametrize(
    ("line", "name", "decision"),
    [
        ("*.dat", b"\xff\xfe.dat", EXCLUDE),
        ("*.dat", b"new\nline.dat", EXCLUDE),
        ("secret", b"dir\nectory/secret", EXCLUDE),
        ("*", b"\n", EXCLUDE),
        ("secret", b"secret\n", INCLUDE),
        ("/secret", b"secret\n/x", INCLUDE),
        ("a?b", b"a\nb", EXCLUDE),
        ("*.log", b"\xf0\x9f\x8e\xae.log", EXCLUDE),
        ("🎮", "🎮".encode(), EXCLUDE),
        ("logs/", b"logs\xff", INCLUDE),
    ],
)
def test_names_that_are_no_text(line: str, name: bytes, decision: Decision) -> None:
    """W-17: names with newlines, or not UTF-8, are judged like all others."""
    assert Rules.compile([line]).decide(name, False) is decision


def test_accepted_and_dropped_lines() -> None:
    rules = Rules.compile(
        ["#", "", "\t", "\tdumps/ ", "!", "/", "r[0-9", "[z-a]", "end\\", "x" * 5000, " # why", "*.hprof"],
        ["deny.txt", "dumps/"],
    )
    assert rules.accepted == "dumps/\n*.hprof\ndeny.txt\ndumps/"
    assert rules.dropped == ("!", "/", "r[0-9", "[z-a]", "end\\", "x" * 5000)
    assert rules.decide(b"r[0-9", False) is INCLUDE
    assert rules.decide(b"dumps", True) is EXCLUDE
    assert not rules.empty


def test_nothing_to_ignore_is_known_at_once() -> None:
    for rules in (Rules.compile([]), Rules.compile(["", "# only comments", "[unclosed"])):
        assert rules.empty
        assert rules.accepted == ""
        assert rules.decide(b"anything", True) is INCLUDE


def test_the_denylist_outranks_every_line_of_the_user() -> None:
    tree = ["plugins/rcon.conf", "plugins/motd.txt", "license/2024/key.pem", "whitelist.json"]
    lines = ["*", "!plugins", "!license", "!rcon.conf", "!key.pem"]
    assert kept(lines, tree, ["rcon.conf", "/license"]) == ["plugins", "plugins/motd.txt"]


@pytest.mark.parametrize(
    "line",
    [
        "*a" * 100 + "b",
        "**/a" * 50 + "/b",
        "a/**/a/**/a/**/a/**/a/**/b",
        "?*" * 60 + "b",
        "[a-c]*" * 60 + "b",
        "*/*/*/*a*a*a*a*a*a*a*a*b",
        "**/" * 1300 + "b",
    ],
)
def test_hostile_patterns_end_at_once(line: str) -> None:
    """P8: a pattern made to backtrack for years costs milliseconds, whatever names were made for it."""
    rules = Rules.compile([line, "!" + line, line])
    assert rules.dropped == ()
    started = time.perf_counter()
    for path in (b"a" * 255, b"/".join([b"a"] * 2000), b"/".join([b"a" * 255] * 20)):
        rules.decide(path, False)
        rules.decide(path, True)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("line", ["[[:alpha:]]", "[+--]", "[--0]", "x[&&]", "[||~~]", "[[]", "[]]", "[!]a]", "[^a]"])
def test_brackets_compile_without_warnings(line: str) -> None:
    assert Rules.compile([line]).dropped == ()


@pytest.mark.parametrize(
    ("line", "matching", "others"),
    [
        ("[+--]", "+,-", "."),
        ("[--0]", "-./0".replace("/", ""), ",1"),
        ("[]a]", "]a", "b"),
        ("[!]a]", "b[", "]a"),
        ("[[a]", "[a", "]b"),
        ("[&~|]", "&~|", "a"),
        ("[a-]", "a-", "b"),
        ("[\\]", "\\", "]"),
    ],
)
def test_what_brackets_hold(line: str, matching: str, others: str) -> None:
    rules = Rules.compile([line])
    assert [char for char in matching if rules.decide(char.encode(), False) is not EXCLUDE] == []
    assert [char for char in others if rules.decide(char.encode(), False) is not INCLUDE] == []


# Where lines come from


@pytest.fixture
def server(tmp_path: Path) -> Path:
    path = tmp_path / "server"
    path.mkdir()
    return path


def gathered(server: Path, request: Iterable[str] = (), denylist: Iterable[str] = ()) -> Rules:
    with Jail(server) as jail:
        return gather(request, jail, denylist)


def test_lines_come_from_the_request_then_the_server_then_the_egg(server: Path) -> None:
    (server / ".pteroignore").write_text("!keep.log\n*.tmp\n!config.yml\n")
    rules = gathered(server, ["*.log", "!x.tmp"], ["config.yml"])
    assert rules.accepted == "*.log\n!x.tmp\n!keep.log\n*.tmp\n!config.yml\nconfig.yml"
    assert rules.decide(b"keep.log", False) is INCLUDE  # the file outranks the request
    assert rules.decide(b"x.tmp", False) is EXCLUDE
    assert rules.decide(b"config.yml", False) is EXCLUDE  # the egg outranks all
    assert rules.remarks == ()


def test_the_pelican_file_serves_only_where_the_other_is_missing(server: Path) -> None:
    (server / ".pelicanignore").write_text("pelican\n")
    assert gathered(server).accepted == "pelican"
    (server / ".pteroignore").write_text("\ufeffptero\r\nsecond\r\n")
    assert gathered(server).accepted == "ptero\nsecond"
    (server / ".pteroignore").write_bytes(b"\xff")
    assert gathered(server).accepted == ""


def test_without_a_file_there_is_nothing_to_say(server: Path) -> None:
    rules = gathered(server)
    assert rules.empty
    assert rules.remarks == ()


@pytest.mark.parametrize("kind", ["too large", "too many", "no text", "link", "directory", "fifo", "socket"])
def test_an_unfit_file_is_left_out_as_a_whole(server: Path, kind: str) -> None:
    """P8: nothing hangs, nothing outside is read, and the operator is told why the file counts for nothing."""
    path = server / ".pteroignore"
    if kind == "too large":
        path.write_bytes(b"secret\n" + b"#" * (1 << 20))
    elif kind == "too many":
        path.write_text("a\n" * 10_001)
    elif kind == "no text":
        path.write_bytes(b"secret\n\xff")
    elif kind == "link":
        (server.parent / "outside").write_text("secret\n")
        path.symlink_to("../outside")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.mknod(path, 0o140600)
    before = len(os.listdir("/proc/self/fd"))
    rules = gathered(server, ["*.log"])
    assert len(os.listdir("/proc/self/fd")) == before
    assert rules.accepted == "*.log"
    assert len(rules.remarks) == 1
    assert rules.remarks[0].startswith(".pteroignore was left out of account: ")


def test_the_largest_file_that_counts(server: Path) -> None:
    (server / ".pteroignore").write_bytes(b"secret\n".ljust(1 << 20, b"#"))
    assert gathered(server).decide(b"secret", False) is EXCLUDE
