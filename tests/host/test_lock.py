"""One daemon per root directory, also after crashes."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from wings.errors import Unavailable
from wings.host.lock import AlreadyRunning, InstanceLock

HOLDER = """
import sys, time
from pathlib import Path
from wings.host.lock import InstanceLock
lock = InstanceLock.acquire(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def hold(path: Path) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_second_process_is_told_who_is_there(tmp_path: Path) -> None:
    path = tmp_path / "wings.lock"
    with hold(path) as other:
        with pytest.raises(AlreadyRunning) as told:
            InstanceLock.acquire(path)
        other.terminate()
    assert f"process {other.pid}" in str(told.value)
    assert str(tmp_path) in str(told.value)
    assert "--root" in str(told.value)
    assert told.value.exit_code == 5


def test_a_crash_releases_it(tmp_path: Path) -> None:
    """P5: kill -9 leaves a file and a number, but no lock."""
    path = tmp_path / "wings.lock"
    with hold(path) as other:
        other.send_signal(signal.SIGKILL)
    assert path.read_text() == f"{other.pid}\n"
    lock = InstanceLock.acquire(path)
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()
    assert path.read_text() == ""


def test_it_is_private_and_can_be_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "wings.lock"
    for _ in range(2):
        lock = InstanceLock.acquire(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(AlreadyRunning):
            InstanceLock.acquire(path)
        lock.release()
        lock.release()


def test_children_do_not_keep_it(tmp_path: Path) -> None:
    """A program of ours that outlives the daemon does not lock the next one out."""
    path = tmp_path / "wings.lock"
    lock = InstanceLock.acquire(path)
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        lock.release()
        InstanceLock.acquire(path).release()
        child.kill()


def test_an_unusable_place_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        InstanceLock.acquire(tmp_path / "nowhere" / "wings.lock")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable):
        InstanceLock.acquire(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()
