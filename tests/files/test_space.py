import os
import threading
from pathlib import Path

import pytest

from tests.files.states import small_disk
from wings.errors import NoSpace
from wings.files.space import Allowance, free_space, over_limit, readable, require


def test_free_space_is_what_statvfs_tells(tmp_path: Path) -> None:
    facts = os.statvfs(tmp_path)
    free = free_space(tmp_path)
    assert abs(free.bytes - facts.f_bavail * facts.f_frsize) < 1 << 30
    assert free.inodes is None or free.inodes > 0


def test_enough_room_passes(tmp_path: Path) -> None:
    require(tmp_path, 1, 0, "to test", inodes=1)


def test_too_little_room_names_needed_free_and_the_way_on(tmp_path: Path) -> None:
    with pytest.raises(NoSpace) as caught:
        require(tmp_path, 1 << 60, 1 << 30, "to restore the backup")
    text = str(caught.value)
    assert "to restore the backup" in text
    assert "1048576.0 TiB are needed" in text
    assert "1.0 GiB must stay free" in text
    assert "are free" in text
    assert "delete something" in text


def test_the_reserve_counts(needs_root: None, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        require(disk, 3 << 20, 0, "to test")
        with pytest.raises(NoSpace):
            require(disk, 3 << 20, 2 << 20, "to test")


def test_too_few_inodes(needs_root: None, tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", "size=4m,nr_inodes=50") as disk,
        pytest.raises(NoSpace, match="100 files are to be made"),
    ):
        require(disk, 0, 0, "to test", inodes=100)


def test_allowance_refuses_what_does_not_fit_and_goes_on_with_what_does() -> None:
    """W-16: the limit holds while bytes are written, whatever was announced."""
    allowance = Allowance(100, used=30)
    allowance.take(70)
    with pytest.raises(NoSpace, match="disk limit"):
        allowance.take(1)
    allowance.give_back(10)
    allowance.take(10)
    assert allowance.used == 100


def test_allowance_counts_right_from_several_threads() -> None:
    allowance = Allowance(None)

    def work() -> None:
        for _ in range(5000):
            allowance.take(3)
            allowance.give_back(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert allowance.used == 4 * 5000 * 2


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB"), (1 << 52, "4096.0 TiB")],
)
def test_readable(count: int, text: str) -> None:
    assert readable(count) == text


def test_over_limit_names_both_figures() -> None:
    text = str(over_limit(3 << 20, 1 << 20))
    assert "3.0 MiB" in text
    assert "1.0 MiB" in text
    assert "raise the server's disk limit" in text
