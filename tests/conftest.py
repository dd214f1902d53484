"""What every test may ask for."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT.parent / "shared" / "vectors"


@pytest.fixture
def vectors() -> Path:
    """Data recorded from the real tools, beside this checkout."""
    return VECTORS


@pytest.fixture
def needs_root() -> None:
    """Skip for an ordinary user: the test changes owners or mounts something."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
