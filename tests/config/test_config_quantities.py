"""Rates and sizes with and without units."""

import pytest

from tests.config.conftest import Load
from wings.config.document import document
from wings.config.problems import InvalidConfiguration
from wings.config.quantities import Rate, Secret, Size


@pytest.mark.parametrize(
    ("written", "bytes_per_second"),
    [
        ("50", 50 << 20),
        ("'50'", 50 << 20),
        ("0", 0),
        ("50MiB", 50 << 20),
        ("10 MB", 10_000_000),
        ("500KiB", 500 << 10),
        ("1.5 GiB", 3 << 29),
        ("2gb/s", 2_000_000_000),
        ("100B", 100),
        ("0.1 B", 1),
        ("0 MiB", 0),
    ],
)
def test_rates(loads: Load, written: str, bytes_per_second: int) -> None:
    backups = loads(f"system: {{backups: {{write_limit: {written}}}}}\n").config.system.backups
    assert backups.write_limit.bytes_per_second == bytes_per_second


@pytest.mark.parametrize("written", ["-1", "50M", "50 Mbit", "MiB", "1e3", "true", "[1]", "5 MiB per second", "''"])
def test_wrong_rates(loads: Load, written: str) -> None:
    with pytest.raises(InvalidConfiguration, match=r"write_limit: .* expected MiB per second as a whole number"):
        loads(f"system: {{backups: {{write_limit: {written}}}}}\n")


def test_what_was_written_is_written_back(loads: Load) -> None:
    config = loads(
        "system: {backups: {write_limit: 10 MB, read_limit: 7}}\nwings: {backups: {reserve_space: 1073741824}}\n"
    ).config
    backups = document(config.system.backups)
    assert (backups["write_limit"], backups["read_limit"]) == ("10 MB", 7)
    assert document(config.wings.backups)["reserve_space"] == 1073741824
    assert config.wings.backups.reserve_space.bytes == 1 << 30


def test_sizes_count_bytes_and_take_no_rate(loads: Load) -> None:
    assert loads("wings: {backups: {reserve_space: 2GiB}}\n").config.wings.backups.reserve_space == Size("2GiB")
    for written in ("2GiB/s", "much", "-1", "1.5"):
        with pytest.raises(InvalidConfiguration, match=r"reserve_space: .* expected bytes"):
            loads(f"wings: {{backups: {{reserve_space: {written}}}}}\n")


def test_secrets_hide_and_compare() -> None:
    secret = Secret("hunter2", written="$PASSWORD")
    assert "hunter2" not in repr(secret) + str(secret) + f"{secret}"
    assert secret == Secret("hunter2", written="$PASSWORD")
    assert secret != Secret("hunter2")
    assert secret != "hunter2"
    assert Rate(5) != Rate("5MiB")
