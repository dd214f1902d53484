"""The defaults are those every panel expects, in the order the reference daemon writes them."""

from pathlib import Path
from typing import Any

import yaml

from tests.config.conftest import Load, key_paths
from tests.conftest import ROOT
from wings.config.document import document, to_yaml
from wings.config.load import load
from wings.config.models import Config

CONTRACT = ROOT / "tests" / "contract" / "config.defaults.yml"
HOST_KEYS = {
    "uuid",
    "token_id",
    "token",
    "remote",
    "system.timezone",
    "system.user.uid",
    "system.user.gid",
}


def flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict) and value:
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result


def contract() -> dict[str, Any]:
    # PyYAML's own loader reads this file rightly but for one value, which is left out of the comparison.
    return flat(yaml.safe_load(CONTRACT.read_text()))


def test_an_empty_file_gives_the_defaults_of_the_contract(loads: Load) -> None:
    loaded = loads("remote: https://panel.example.com\nsystem: {user: {uid: 988, gid: 988}}\n")
    ours = flat(yaml.safe_load(to_yaml(document(loaded.config))))
    expected = contract()
    assert len(expected) > 180
    for key, value in expected.items():
        if key not in HOST_KEYS:
            assert ours[key] == value, key
            assert type(ours[key]) is type(value), key


def test_the_written_order_is_that_of_the_contract_and_ours_come_last() -> None:
    ours = list(key_paths(document(Config())))
    expected = list(contract())
    assert ours[: len(expected)] == expected
    assert all(key.startswith("wings.") for key in ours[len(expected) :])


def test_our_own_settings_and_their_defaults(loads: Load) -> None:
    wings = loads("").config.wings
    assert (wings.backups.restore_mode, wings.backups.unreadable_files) == ("auto", "fail")
    assert (wings.backups.parallel_creates, wings.backups.parallel_restores) == (2, 2)
    assert wings.backups.reserve_space.bytes == 512 * 1024 * 1024
    assert wings.backups.default_adapter == "wings"
    assert (wings.jobs.keep_days, wings.shutdown_timeout, wings.metrics.enabled) == (30, 10, True)


def test_the_contract_file_itself_loads_and_comes_back_the_same(tmp_path: Path, host: Path) -> None:
    loaded = load(CONTRACT, {}, host)
    assert loaded.warnings == ()
    copy = tmp_path / "copy.yml"
    copy.write_text(to_yaml(document(loaded.config)))
    assert load(copy, {}, host).config == loaded.config
    assert document(loaded.config) == document(Config())


def test_empty_sections_and_nulls_mean_the_default_at_every_depth(loads: Load) -> None:
    loaded = loads("api:\nsystem:\n  sftp: ~\n  backups:\n    restic: null\n    write_limit:\ndocker: {dns: }\n")
    assert document(loaded.config.api) == document(Config().api)
    assert document(loaded.config.system.backups) == document(Config().system.backups)
    assert loaded.config.system.sftp.bind_port == 2022
