"""Getting what was written onto the disk."""

import ctypes
import os


def sync_file_system(fd: int) -> None:
    """Write back everything of the file system that holds ``fd``; one call instead of one per file.

    Raises ``OSError`` when the kernel says that something was lost (Linux 5.8 and later say so).
    """
    library = ctypes.CDLL(None, use_errno=True)
    try:
        syncfs = library.syncfs
    except AttributeError:  # not in this C library
        os.sync()
        return
    if syncfs(ctypes.c_int(fd)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
