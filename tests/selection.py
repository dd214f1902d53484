"""A pytest plugin (``-p tests.selection``) that leaves tests out on request, never by itself.

``--without NAME`` those marked ``peer("NAME")``, ``--no-vectors`` those marked ``vectors``, ``--quick`` those
marked ``slow``.
"""

from pathlib import Path

import pytest

PEERS = Path(__file__).resolve().parent.parent / "scripts" / "peers.list"


def known_peers() -> frozenset[str]:
    """The programs that tests may name: those that scripts/setup installs."""
    lines = (line.split() for line in PEERS.read_text(encoding="utf-8").splitlines())
    return frozenset(words[0] for words in lines if words and not words[0].startswith("#"))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("selection")
    group.addoption("--without", action="append", default=[], metavar="NAME", help="leave out peer(NAME)")
    group.addoption("--no-vectors", action="store_true", help="leave out tests marked vectors")
    group.addoption("--quick", action="store_true", help="leave out tests marked slow")


def pytest_configure(config: pytest.Config) -> None:
    unknown = set(config.getoption("--without")) - known_peers()
    if unknown:
        names = ", ".join(sorted(unknown))
        raise pytest.UsageError(f"--without: unknown {names}; known are {', '.join(sorted(known_peers()))}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    dropped = [item for item in items if _is_left_out(item, config)]
    if dropped:
        items[:] = [item for item in items if item not in set(dropped)]
        config.hook.pytest_deselected(items=dropped)


def pytest_runtest_setup(item: pytest.Item) -> None:
    unknown = _peers(item) - known_peers()
    if unknown:
        # Nobody would install it; a usage error would be lost in a worker process.
        pytest.fail(f"peer {', '.join(sorted(unknown))} is not in scripts/{PEERS.name}", pytrace=False)


def _peers(item: pytest.Item) -> set[str]:
    return {str(name) for marker in item.iter_markers("peer") for name in marker.args}


def _is_left_out(item: pytest.Item, config: pytest.Config) -> bool:
    return (
        not _peers(item).isdisjoint(config.getoption("--without"))
        or (config.getoption("--no-vectors") and item.get_closest_marker("vectors") is not None)
        or (config.getoption("--quick") and item.get_closest_marker("slow") is not None)
    )
