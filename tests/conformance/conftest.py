"""Fixtures of the conformance suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.cases import CASES, Case
from wings.host.threads import Pools


@pytest.fixture
def pools() -> Iterator[Pools]:
    with Pools(archive=4) as pools:
        yield pools


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest, tmp_path: Path, pools: Pools) -> Case:
    return CASES[request.param](tmp_path / "storage", pools)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small world: files, links, an empty directory, a name with a space."""
    root = tmp_path / "server"
    (root / "world" / "region").mkdir(parents=True)
    for number in range(12):
        (root / "world" / "region" / f"r.{number}.mca").write_bytes(bytes([number]) * (70_000 + number))
    (root / "server.properties").write_bytes(b"motd=hello\n")
    (root / "start.sh").write_bytes(b"#!/bin/sh\n")
    (root / "start.sh").chmod(0o750)
    (root / "with space").mkdir()
    (root / "empty.txt").touch()
    (root / "link").symlink_to("world/region")
    return root
