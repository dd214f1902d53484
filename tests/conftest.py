"""What every test may ask for."""

import os
from pathlib import Path

import pytest
import structlog

from tests.loopguard import loop_guard  # noqa: F401  # an autouse fixture: having it here is using it

# Without this, structlog's own default renders tracebacks by reading files, which the loop guard refuses.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
    ]
)

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
