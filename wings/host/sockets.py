"""Paths of Unix sockets that are longer than the kernel takes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 107  # bytes that fit into sockaddr_un beside the NUL


@contextmanager
def short_name(path: Path) -> Iterator[Path]:
    """A name of the same place that fits: ``path`` itself, or one through a descriptor of its directory."""
    if len(os.fsencode(path)) + 16 <= LONGEST:  # room for the temporary name beside it
        yield path
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{directory}") / path.name
    finally:
        os.close(directory)
