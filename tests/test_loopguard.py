"""The guard itself: it sees what blocks, and nothing else."""

import asyncio
import fcntl
import hashlib
import importlib.util
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from blockbuster import BlockBuster, BlockingError

from tests.loopguard import LoopGuard

SOURCE = """
import fcntl, hashlib, time

def wait_for_lock(file):
    fcntl.flock(file, fcntl.LOCK_EX)

def compute(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(1000))

def hash_at_once(data, rounds):
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", rounds)

async def polite():
    import asyncio
    for _ in range(20):
        compute(0.01)
        await asyncio.sleep(0)

def sleep(seconds):
    time.sleep(seconds)
"""


@pytest.fixture
def blocking(tmp_path: Path) -> ModuleType:
    """A module that stands for code of ours and blocks in every way."""
    path = tmp_path / "package" / "blocking.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("blocking", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def guarded(package: Path, work: Callable[[], object]) -> list[str]:
    async def main() -> None:
        await asyncio.sleep(0)
        work()

    with LoopGuard(package) as guard:
        asyncio.run(main())
    return guard.blocked


def test_sees_waiting_in_a_call_it_knows_nothing_of(blocking: ModuleType, tmp_path: Path) -> None:
    held = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    threading.Timer(0.3, os.close, [held]).start()
    with open(tmp_path / "lock", "rb") as file:
        blocked = guarded(tmp_path / "package", lambda: blocking.wait_for_lock(file))
    assert len(blocked) == 1
    assert "wait_for_lock" in blocked[0]


def test_sees_long_computations(blocking: ModuleType, tmp_path: Path) -> None:
    blocked = guarded(tmp_path / "package", lambda: blocking.compute(0.3))
    assert len(blocked) == 1
    assert "in compute" in blocked[0]


def test_sees_one_call_that_keeps_everything_else_from_running(blocking: ModuleType, tmp_path: Path) -> None:
    begun = time.thread_time()
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 100_000)
    rounds = int(100_000 * 0.4 / (time.thread_time() - begun))
    blocked = guarded(tmp_path / "package", lambda: blocking.hash_at_once(b"", rounds))
    assert len(blocked) == 1
    assert "hash_at_once" in blocked[0]


def test_lets_work_in_small_steps_pass(blocking: ModuleType, tmp_path: Path) -> None:
    with LoopGuard(tmp_path / "package") as guard:
        asyncio.run(blocking.polite())
    assert guard.blocked == []


def test_does_not_mind_what_the_test_itself_does(blocking: ModuleType, tmp_path: Path) -> None:
    def in_a_thread() -> None:
        thread = threading.Thread(target=blocking.compute, args=(0.2,))
        thread.start()
        thread.join()

    assert guarded(tmp_path / "package", lambda: time.sleep(0.2)) == []
    assert guarded(tmp_path / "package", in_a_thread) == []


def test_known_blocking_calls_are_refused(blocking: ModuleType) -> None:
    async def main() -> None:
        blocking.sleep(0.001)

    refuser = BlockBuster(blocking)
    refuser.activate()
    try:
        with pytest.raises(BlockingError, match=r"time\.sleep"):
            asyncio.run(main())
    finally:
        refuser.deactivate()


def test_fails_the_test_that_blocks(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """End to end: pytest reports the culprit of a test that is otherwise fine."""
    import subprocess
    import sys

    root = Path(request.config.rootpath)
    (tmp_path / "test_blocks.py").write_text(
        "import asyncio, threading, time\n"
        "import pytest\n"
        "from tests.loopguard import loop_guard\n"
        "from wings.jobs.limits import TokenBucket\n"
        "from wings.archives.work import Unwatched\n"
        "async def test_blocks():\n"
        "    bucket = TokenBucket(100_000)\n"
        "    bucket.take(40_000, Unwatched())\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "test_blocks.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "the event loop was blocked" in done.stdout or "BlockingError" in done.stdout
    assert "_served" in done.stdout


def test_waiting_for_a_new_threads_first_step_is_nobodys_fault() -> None:
    """Executors start threads on the loop; how long the machine takes to run one says nothing about our code."""
    guard = LoopGuard(package=Path(__file__).parent)
    frames: list[bool] = []

    class Slow(threading.Thread):
        def _bootstrap(self) -> None:  # type: ignore[override]  # where a new thread begins
            frames.append(guard._is_ours(sys._current_frames()[main]))
            super()._bootstrap()  # type: ignore[misc]

    main = threading.get_ident()
    thread = Slow(target=lambda: None)
    thread.start()
    thread.join()
    assert frames == [False]
