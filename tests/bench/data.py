"""The data that is measured, made the same way every time."""

import random
from pathlib import Path

MIB = 1 << 20


def mixed(root: Path) -> int:
    """(a) About 1 GiB: 64 × 8 MiB half compressible, 2,000 text-like of 4–64 KiB, four incompressible of 50 MiB.

    Half compressible means alternating runs of 64 KiB, as region files of a game are: packed chunks and padding.
    Returns the bytes of all files.
    """
    chance = random.Random(1)
    words = _words(chance)
    total = 0
    for number in range(64):
        runs = [chance.randbytes(65536) if run % 2 else _text(chance, words, 65536) for run in range(8 * MIB // 65536)]
        total += _put(root / "region" / f"r.{number}.mca", b"".join(runs))
    for number in range(2000):
        size = chance.randrange(4096, 65536)
        total += _put(root / "text" / f"{number % 20}" / f"{number}.txt", _text(chance, words, size))
    for number in range(4):
        total += _put(root / "jar" / f"{number}.jar", chance.randbytes(50 * MIB))
    return total


def small(root: Path) -> int:
    """(b) 20,000 files of 0.5–4 KiB in 400 directories."""
    chance = random.Random(2)
    words = _words(chance)
    return sum(
        _put(root / f"d{number % 400:03}" / f"f{number:05}.json", _text(chance, words, chance.randrange(512, 4096)))
        for number in range(20_000)
    )


def empty_files(root: Path, count: int) -> int:
    """``count`` empty files, 100 to a directory: the cost of an entry and nothing else."""
    for number in range(count):
        path = root / f"d{number // 100:05}" / f"f{number % 100:02}"
        if number % 100 == 0:
            path.parent.mkdir(parents=True)
        path.touch()
    return 0


def sparse(root: Path, size: int) -> int:
    """One file of ``size`` bytes without content."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "sparse").open("wb") as file:
        file.truncate(size)
    return size


def _words(chance: random.Random) -> list[bytes]:
    letters = b"etaoinshrdlucmfwypvbgkqjxz"
    return [bytes(chance.choices(letters, k=chance.randrange(2, 11))) for _ in range(5000)]


def _text(chance: random.Random, words: list[bytes], size: int) -> bytes:
    return b" ".join(chance.choices(words, k=size // 5 + 1))[:size].ljust(size)


def _put(path: Path, data: bytes) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return len(data)
