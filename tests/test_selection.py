"""Tests are left out when asked for, and only those."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SUITE = """\
import pytest

@pytest.mark.peer("xz")
def test_xz(): pass

@pytest.mark.vectors
def test_vectors(): pass

@pytest.mark.slow
def test_slow(): pass

def test_plain(): pass
"""


def run(directory: Path, suite: str, *arguments: str) -> tuple[int, str]:
    path = directory / "test_suite.py"
    path.write_text(suite)
    command = [sys.executable, "-m", "pytest", "-v", "-c", ROOT / "pyproject.toml", "-p", "tests.selection", path]
    result = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ((), {"xz", "vectors", "slow", "plain"}),
        (("--quick", "--without", "xz", "--no-vectors"), {"plain"}),
        (("--without", "zip", "--without", "xz"), {"vectors", "slow", "plain"}),
    ],
)
def test_what_is_left(tmp_path: Path, arguments: tuple[str, ...], left: set[str]) -> None:
    code, said = run(tmp_path, SUITE, *arguments)
    assert code == 0, said
    assert {name for name in ("xz", "vectors", "slow", "plain") if f"::test_{name} PASSED" in said} == left


def test_an_unknown_name_is_an_error(tmp_path: Path) -> None:
    code, said = run(tmp_path, SUITE, "--without", "gz")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "--without: unknown gz; known are 7zz, bsdtar" in said


def test_a_peer_that_nobody_installs_fails(tmp_path: Path) -> None:
    code, said = run(tmp_path, SUITE.replace('"xz"', '"rar"'))
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "peer rar is not in scripts/peers.list" in said
