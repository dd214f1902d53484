"""Which file is used, and local mode making its own."""

import os
from pathlib import Path

import pytest

from wings.config.locate import find_config, local_config, open_config
from wings.config.paths import ResolvedPaths, create_directories
from wings.config.problems import InvalidConfiguration, NoConfiguration
from wings.config.validate import Mode, mode_of, validate
from wings.errors import ConfigurationError, InvalidInput


def test_the_usual_places_in_order(tmp_path: Path, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoConfiguration):
        find_config(host)
    (tmp_path / "config.yml").touch()
    assert find_config(host) == Path("config.yml")
    for name in ("pelican", "pterodactyl", "calagopus-wings"):
        path = host / "etc" / name / "config.yml"
        path.parent.mkdir(parents=True)
        path.touch()
        assert find_config(host) == path


def test_without_a_file_the_message_says_both_ways_on(
    host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoConfiguration) as caught:
        find_config(host)
    said = str(caught.value)
    assert "wings configure" in said
    assert "wings --root DIR" in said
    assert "/etc/calagopus-wings/config.yml" in said
    assert caught.value.exit_code == 1


def test_a_given_file_is_the_only_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text("api: {port: 5}\n")
    assert open_config(path, None, {}).config.api.port == 5
    with pytest.raises(InvalidConfiguration, match="cannot be read"):
        open_config(tmp_path / "none.yml", None, {})
    with pytest.raises(InvalidInput, match="exclude each other"):
        open_config(path, tmp_path, {})


def test_local_mode_makes_its_file_on_first_use(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "trial"
    loaded = open_config(None, root, {})
    path = root / "config.yml"
    assert loaded.path == path
    assert path.stat().st_mode & 0o7777 == 0o600
    assert root.stat().st_mode & 0o7777 == 0o700
    config = loaded.config
    assert config.api.socket_path == f"{root}/wings.sock"
    assert len(config.token.get_secret_value()) >= 32
    assert config.uuid.version == 4
    assert not config.system.sftp.enabled
    paths = ResolvedPaths.of(config)
    assert paths.root == root
    assert (paths.log, paths.data, paths.backup, paths.tmp) == (
        root / "logs", root / "volumes", root / "backups", root / "tmp",
    )  # fmt: skip
    assert mode_of(config) is Mode.LOCAL
    assert validate(config, Mode.LOCAL) == ()
    text = path.read_text()
    assert len(text.splitlines()) < 20
    again = local_config(root, {})
    assert again.config == config
    assert path.read_text() == text


def test_two_directories_have_different_credentials(tmp_path: Path) -> None:
    one, two = local_config(tmp_path / "1", {}).config, local_config(tmp_path / "2", {}).config
    assert one.token.get_secret_value() != two.token.get_secret_value()
    assert one.uuid != two.uuid


def test_a_relative_root_is_taken_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_config(Path("x"), {}).config.system.root_directory == str(tmp_path / "x")


def test_a_moved_directory_works_from_where_it_is(tmp_path: Path) -> None:
    local_config(tmp_path / "old", {})
    (tmp_path / "old").rename(tmp_path / "new")
    loaded = local_config(tmp_path / "new", {})
    assert loaded.config.system.root_directory == str(tmp_path / "new")
    assert loaded.config.api.host == f"{tmp_path}/new/wings.sock"
    assert ResolvedPaths.of(loaded.config).data == tmp_path / "new" / "volumes"
    assert "where the file is" in loaded.warnings[-1]


def test_looking_does_not_make_anything(tmp_path: Path) -> None:
    with pytest.raises(NoConfiguration, match=f"wings --root {tmp_path}/x"):
        local_config(tmp_path / "x", {}, make=False)
    assert not (tmp_path / "x").exists()


def test_a_root_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"config.yml cannot be made: (Not a directory|File exists)$"):
        local_config(tmp_path / "file", {})


def test_directories_are_made_with_their_mode_and_others_left_alone(tmp_path: Path) -> None:
    config = local_config(
        tmp_path / "root",
        {"CALAGOPUS_SYSTEM_PASSWD_ENABLED": "true", "CALAGOPUS_SYSTEM_PASSWD_DIRECTORY": "{root_directory}/etc"},
    ).config
    paths = ResolvedPaths.of(config)
    paths.backup.mkdir()
    paths.backup.chmod(0o755)
    old = os.umask(0o077)
    try:
        made = create_directories(paths)
    finally:
        os.umask(old)
    assert paths.backup not in made
    assert paths.root not in made
    assert set(made) == {paths.log, paths.data, paths.diffs, paths.vmount, paths.archive, paths.tmp, paths.passwd}
    modes = {path.name: path.stat().st_mode & 0o777 for path in (*made, paths.backup)}
    assert modes == {
        "logs": 0o700, "volumes": 0o700, "diffs": 0o700, "vmounts": 0o700, "archives": 0o700, "tmp": 0o700,
        "etc": 0o755, "backups": 0o755,
    }  # fmt: skip
    assert create_directories(paths) == ()


def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    paths = ResolvedPaths.of(local_config(tmp_path, {}).config)
    paths.data.touch()
    with pytest.raises(ConfigurationError, match=f"the data_directory {tmp_path}/volumes exists and is not a dir"):
        create_directories(paths)
    paths.data.unlink()
    paths.log.rmdir()
    (tmp_path / "logs").symlink_to(tmp_path / "gone" / "x")
    with pytest.raises(ConfigurationError, match=r"the log_directory .* exists and is not a directory"):
        create_directories(paths)
