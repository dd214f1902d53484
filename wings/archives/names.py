"""Judging the names and link targets that an archive claims, before anything is written (P8).

Names are raw bytes joined by ``/``. Backslashes, drive letters and ``:`` are ordinary characters here.
"""

LONGEST_PART = 255  # NAME_MAX of every Linux file system in use
LONGEST_TARGET = 4095  # PATH_MAX without its NUL: no system call makes a longer link


class HostileName(ValueError):
    """The name cannot be used; the text says why. It never leaves this package: the entry is refused."""


def judge(name: bytes) -> bytes:
    """Turn what the archive says into a clean relative path; ``b""`` is the root itself. Raises ``HostileName``.

    A leading ``/`` and every ``./`` and ``//`` are dropped, as is a trailing ``/``. ``..``, NUL and parts
    of more than 255 bytes are refused: no guess would be what the archive's maker meant.
    """
    path = name[2:] if name.startswith(b"./") else name
    if path.endswith(b"/"):
        path = path[:-1]
    if b"/." in path or b"//" in path or path.startswith((b"/", b".")) or path.endswith(b"/") or b"\0" in path:
        path = _cleaned(path)
    if len(path) > LONGEST_PART:
        for part in path.split(b"/"):
            if len(part) > LONGEST_PART:
                raise HostileName(f"part of {len(part)} bytes")
    return path


def is_odd(name: bytes, judged: bytes) -> bool:
    """Whether ``judge`` made something else of the name than its maker may have meant.

    A trailing ``/`` and a leading ``./`` are not odd: tar writes the first, and people make archives of ``.``.
    """
    return judged != name.removeprefix(b"./").removesuffix(b"/")


def _cleaned(path: bytes) -> bytes:
    """For everything that may not be clean; hidden files come here too."""
    if b"\0" in path:
        raise HostileName("NUL in the name")
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise HostileName("leads out with ..")
    return b"/".join(parts)


def judge_target(target: bytes) -> bytes:
    """The text of a symbolic link, exactly as it was (W-4). Raises ``HostileName`` if no link can have it.

    Where it points is nobody's business here: nothing ever follows it.
    """
    if not target:
        raise HostileName("link without a target")
    if b"\0" in target:
        raise HostileName("NUL in the link's target")
    if len(target) > LONGEST_TARGET:
        raise HostileName(f"link target of {len(target)} bytes")
    return target
