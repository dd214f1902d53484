"""The escape corpus against the extractor, the jail and the writer as a restore uses them (P8)."""

import os
import stat
import threading
from pathlib import Path

import pytest

from tests.archives.hostile import CASES, Case
from tests.archives.reading import unpack
from tests.trees import snapshot
from wings.archives.extract import Limits
from wings.archives.formats import ArchiveFormat
from wings.errors import Damaged

ALL = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


class Surroundings:
    """Two directories side by side: one that is attacked, and the root that the archive is extracted into."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.outside = place / "outside"
        self.root = place / "root"
        (self.outside / "inner").mkdir(parents=True)
        self.root.mkdir()
        (self.outside / "canary").write_text("sings")
        (self.outside / "inner" / "canary").write_text("sings too")
        for path in (self.outside / "canary", self.outside / "inner", self.outside, self.root, place):
            os.utime(path, (1_000_000_000, 1_000_000_000))
        self.before = self.look()

    def look(self) -> tuple[object, ...]:
        """Everything about the outside: contents, modes, times, numbers of links, and the parent itself."""
        inner = self.outside / "inner"
        watched = (self.place, self.outside, self.outside / "canary", inner, inner / "canary")
        facts = [os.lstat(path) for path in watched]
        return (
            snapshot(self.outside),
            sorted(os.listdir(self.place)),
            [(one.st_mode, one.st_mtime_ns, one.st_nlink, one.st_uid, one.st_ino) for one in facts],
        )

    def check(self) -> None:
        """Nothing outside has changed, and the root holds nothing that is not a file, directory or link."""
        assert self.look() == self.before
        for path, facts in snapshot(self.root).items():
            assert facts.kind in ("file", "directory", "symlink"), path


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path)


def test_the_corpus_is_large_enough() -> None:
    """At least forty hostile archives, in all three containers."""
    assert len({case.name for case in CASES}) == len(CASES) >= 40
    assert {case.format for case in CASES} == {ArchiveFormat.TAR, ArchiveFormat.ZIP, ArchiveFormat.SEVEN_ZIP}


@ALL
def test_nothing_outside_the_root_changes(case: Case, surroundings: Surroundings) -> None:
    """P8: whatever the archive, what lies outside stays as it was, and the result says what was refused."""
    archive = case.build(os.fsencode(surroundings.outside))
    threads = threading.active_count()
    if case.fails:
        with pytest.raises(Damaged):
            unpack(archive, case.format, surroundings.root, limits=Limits(content_bytes=1 << 20))
    else:
        done = unpack(archive, case.format, surroundings.root, limits=Limits(content_bytes=1 << 20))
        assert done.refused >= case.refused, done.warnings
        assert bool(done.warnings) or not done.refused
        if case.good:
            assert (surroundings.root / "good").read_text() == "good"
    assert threading.active_count() == threads
    surroundings.check()


@ALL
def test_links_that_were_there_before_are_not_followed(case: Case, surroundings: Surroundings) -> None:
    """P8: the same with links out planted in the root by its user, under every name the corpus writes to."""
    planted = (
        "a",
        "d",
        "h",
        "hard",
        "l",
        "link",
        "x",
        "b",
        "p",
        "pipe",
        "Case",
        "good",
        "first good",
        "suid",
        "outside",
    )
    for name in planted:
        os.symlink(surroundings.outside, surroundings.root / name)
    (surroundings.root / os.fsdecode(os.fsencode(surroundings.outside).split(b"/")[1])).symlink_to("/")
    archive = case.build(os.fsencode(surroundings.outside))
    try:
        unpack(archive, case.format, surroundings.root, limits=Limits(content_bytes=1 << 20))
    except Damaged:
        assert case.fails
    surroundings.check()


@pytest.mark.parametrize("writers", [1, 4])
def test_the_last_of_several_entries_wins(writers: int, surroundings: Surroundings) -> None:
    """A path given in many ways ends as its last entry, however many writers there are."""
    case = next(case for case in CASES if case.name == "tar: a path of all kinds")
    unpack(case.build(b""), case.format, surroundings.root, writers=writers)
    assert stat.S_ISDIR(os.lstat(surroundings.root / "x").st_mode)  # nothing replaces a directory
    case = next(case for case in CASES if case.name == "tar: hard link, then the file again")
    unpack(case.build(b""), case.format, surroundings.root, writers=writers)
    assert (surroundings.root / "a").read_text() == "again"
    assert (surroundings.root / "b").read_text() == "evil"
    case = next(case for case in CASES if case.name == "7z: link, then a file")
    unpack(case.build(os.fsencode(surroundings.outside)), case.format, surroundings.root, writers=writers)
    assert (surroundings.root / "l").read_text() == "evil"
    surroundings.check()
