"""Bytes from the daemon to a file or to stdout, whole or with an error."""

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from wings.cli.client import Client
from wings.errors import Conflict, Damaged, InvalidInput, shown


@dataclass(frozen=True, slots=True)
class Expected:
    """The checksum that what arrives must have: lower-case hex of an algorithm of ``hashlib``."""

    algorithm: str
    checksum: str


@dataclass(frozen=True, slots=True)
class Saved:
    """Where it is and how many bytes."""

    path: Path
    size: int


def to_stdout(
    client: Client, path: str, query: Mapping[str, str] | None = None, expected: Expected | None = None
) -> None:
    """Copy a body to stdout. When this raises, what was written so far is only a part, or damaged."""
    with client.stream("GET", path, query=query) as body:
        _copy(body.chunks(), sys.stdout.buffer, expected)
        sys.stdout.buffer.flush()


def to_file(client: Client, path: str, output: Path | None, expected: Expected | None = None) -> Saved:
    """Save a body under a temporary name beside its own and give it its name when it is whole and on the disk.

    ``output`` may be a directory; without it the file goes into the current one, named as the daemon says.
    Raises ``Conflict`` for a name that is taken: nothing is ever replaced.
    """
    if output is not None and not output.is_dir():
        _check_free(output)  # before anything is transferred
    with client.stream("GET", path) as body:
        final = output or Path(body.name)
        if final.is_dir():
            final /= body.name
        _check_free(final)
        with _new_file(final) as file:
            size = _copy(body.chunks(), file, expected)
    return Saved(final, size)


@contextmanager
def _new_file(final: Path) -> Iterator[BinaryIO]:
    partial = final.with_name(f".{final.name[:50]}.{os.getpid()}.part")
    try:
        try:
            # For its owner only: a backup may hold anything.
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except (FileNotFoundError, NotADirectoryError):
            raise InvalidInput(f"{shown(final.parent)} is not a directory that exists") from None
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, final)  # unlike a rename it never replaces what came in between
        except FileExistsError:
            raise _taken(final) from None
        except OSError:  # a file system without links
            _check_free(final)
            partial.rename(final)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


def _copy(chunks: Iterator[bytes], file: BinaryIO, expected: Expected | None) -> int:
    digest = hashlib.new(expected.algorithm, usedforsecurity=False) if expected is not None else None
    size = 0
    for chunk in chunks:
        file.write(chunk)
        size += len(chunk)
        if digest is not None:
            digest.update(chunk)
    if digest is not None and expected is not None and digest.hexdigest() != expected.checksum:
        raise Damaged(
            f"what arrived has another {expected.algorithm} than the backup when it was stored; "
            "'wings backup verify UUID --full' says whether the stored one is damaged"
        )
    return size


def _check_free(path: Path) -> None:
    if os.path.lexists(path):
        raise _taken(path)


def _taken(path: Path) -> Conflict:
    return Conflict(f"{shown(path)} exists already; choose another name with -o")
