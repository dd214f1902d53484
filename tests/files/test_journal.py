import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wings.errors import Damaged
from wings.files.journal import Journal, Record, Settle, Status, Swap

numbers = st.integers(0, 2**32 - 1)
times = st.integers(-(2**63), 2**63 - 1)
statuses = st.builds(Status, st.integers(0, 0o7777), numbers, numbers, times, times)
paths = st.binary(max_size=40).map(lambda text: text.replace(b"\0", b""))
records = st.one_of(
    st.builds(Swap, paths, st.integers(0, 2**64 - 1)), st.builds(Settle, paths, statuses, st.none() | statuses)
)


def written(fd: int, content: list[Record]) -> bytes:
    """The bytes of a journal with these records."""
    journal = Journal.create(fd, b"journal", 42)
    for record in content:
        journal.append(record)
    journal.sync()
    journal.close()
    path = f"/proc/self/fd/{fd}/journal"
    data = Path(path).read_bytes()
    os.unlink(path)
    return data


@given(st.lists(records, max_size=8), st.integers(0, 400))
def test_what_was_written_is_read_and_a_torn_end_is_not(
    tmp_path_factory: pytest.TempPathFactory, content: list[Record], cut: int
) -> None:
    """P5: a crash while a record was written means that the record never was."""
    place = tmp_path_factory.mktemp("journal")
    fd = os.open(place, os.O_RDONLY)
    try:
        data = written(fd, content)
        (place / "journal").write_bytes(data)
        journal = Journal.open(fd, b"journal")
        assert journal.root_inode == 42
        assert [record for _, record in journal.forwards()] == content
        assert [record for _, record in journal.backwards()] == content[::-1]
        journal.close()
        (place / "journal").write_bytes(data[: max(len(data) - cut, 21)])
        journal = Journal.open(fd, b"journal")
        left = [record for _, record in journal.forwards()]
        assert left == content[: len(left)]
        journal.close()
    finally:
        os.close(fd)


def test_undone_records_are_forgotten(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    journal = Journal.create(fd, b"journal", 1)
    for number in range(5):
        journal.append(Swap(b"%d" % number, number))
    with pytest.raises(BlockingIOError):
        Journal.open(fd, b"journal")
    journal.cut(4)
    journal.mark_undone(2)
    journal.close()
    journal.close()
    again = Journal.open(fd, b"journal")
    assert [number for number, _ in again.backwards()] == [3, 1, 0]
    again.append(Swap(b"new", 9))
    assert [number for number, _ in again.forwards()] == [0, 1, 3, 4]
    again.close()
    os.close(fd)


@pytest.mark.parametrize("content", [b"", b"wings-undo-1\n", b"something else that is long enough"])
def test_no_journal_at_all(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "journal").write_bytes(content)
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(Damaged, match="no beginning"):
        Journal.open(fd, b"journal")
    os.close(fd)
