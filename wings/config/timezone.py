"""The time zone of this machine, for ``system.timezone`` when the file does not name one (config §7.4)."""

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path


def detect_timezone(environ: Mapping[str, str], host: Path = Path("/")) -> str:
    """``$TZ``, else /etc/timezone, else where /etc/localtime points, else the offset as ``+02:00``.

    Only the first three give a name that containers and schedules understand. ``host`` is the root of the
    file system to look at.
    """
    if environ.get("TZ"):
        return environ["TZ"]
    try:
        name = (host / "etc/timezone").read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError):
        name = ""
    return name or _zone_of_link(host / "etc/localtime") or _offset()


def _zone_of_link(link: Path) -> str:
    try:
        _, found, zone = os.readlink(link).rpartition("zoneinfo/")
    except OSError:
        return ""
    return zone if found else ""


def _offset() -> str:
    text = datetime.now().astimezone().strftime("%z")  # +0200
    return f"{text[:3]}:{text[3:5]}"
