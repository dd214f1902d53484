"""What the environment changes (config §6), and where the time zone comes from."""

from pathlib import Path

import pytest

from tests.config.conftest import Load
from wings.config.document import document, to_yaml
from wings.config.environment import variable_names
from wings.config.problems import InvalidConfiguration


def test_every_key_has_its_own_variable() -> None:
    names = [name for name, _ in variable_names()]
    assert len(names) == len(set(names)) > 180


def test_overrides_of_every_kind(loads: Load) -> None:
    loaded = loads(
        "api: {port: 1, ssl: }\nsystem: {username: bob}\n",
        {
            "CALAGOPUS_API_PORT": "9090",
            "CALAGOPUS_API_SSL_ENABLED": "true",
            "CALAGOPUS_APP_NAME": "true",
            "CALAGOPUS_SYSTEM_USERNAME": "",
            "CALAGOPUS_TOKEN": "~",
            "CALAGOPUS_DOCKER_NETWORK_DNS": "[9.9.9.9, 1.1.1.1]",
            "CALAGOPUS_DOCKER_LOG_CONFIG_CONFIG": "{max-size: 0755}",
            "CALAGOPUS_SYSTEM_USER_UID": "1234",
            "CALAGOPUS_SYSTEM_TIMEZONE": "+10:00",
            "CALAGOPUS_SYSTEM_SFTP_BIND_ADDRESS": "::",
            "CALAGOPUS_SYSTEM_BACKUPS_WRITE_LIMIT": "",
            "CALAGOPUS_WINGS_BACKUPS_RESTORE_MODE": "staged",
            "TZ": "UTC",
        },
    )
    config = loaded.config
    assert loaded.warnings == ()
    assert (config.api.port, config.api.ssl.enabled) == (9090, True)
    assert (config.app_name, config.system.username, config.system.timezone) == ("true", "", "+10:00")
    assert config.token.get_secret_value() == "~"
    assert config.docker.network.dns == ("9.9.9.9", "1.1.1.1")
    assert config.docker.log_config.config == {"max-size": "0755"}
    assert config.system.user.uid == 1234
    assert str(config.system.sftp.bind_address) == "::"
    assert config.system.backups.write_limit.bytes_per_second == 0
    assert config.wings.backups.restore_mode == "staged"


def test_an_override_is_written_back(loads: Load) -> None:
    loaded = loads("", {"CALAGOPUS_API_PORT": "9090", "TZ": "UTC"})
    assert "  port: 9090\n" in to_yaml(document(loaded.config))


def test_problems_of_variables_name_the_variable(loads: Load) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        loads("debug: 5\n", {"CALAGOPUS_API_PORT": "http", "CALAGOPUS_DOCKER_NETWORK_DNS": "[1", "TZ": "UTC"})
    lines = str(caught.value).splitlines()
    assert lines[1].endswith("config.yml:1: debug: 5 does not fit, expected true or false")
    assert any(line.startswith("  environment variable CALAGOPUS_API_PORT: api.port: http does not") for line in lines)
    assert any(line.startswith("  environment variable CALAGOPUS_DOCKER_NETWORK_DNS: not valid") for line in lines)


def test_an_unmatched_variable_is_a_warning(loads: Load) -> None:
    loaded = loads("", {"CALAGOPUS_NO_SUCH_KEY": "x", "TZ": "UTC"})
    assert loaded.warnings == ("the environment variable CALAGOPUS_NO_SUCH_KEY names no key of the configuration",)


def test_tokens_from_the_environment_are_used_and_not_written(loads: Load) -> None:
    loaded = loads("token: in-the-file\n", {"WINGS_TOKEN": "secret-17", "WINGS_TOKEN_ID": "id-17", "TZ": "UTC"})
    assert loaded.config.token.get_secret_value() == "secret-17"
    assert loaded.config.token_id.get_secret_value() == "id-17"
    assert "token_id: ''\ntoken: in-the-file\n" in to_yaml(document(loaded.config))


def test_references_that_lead_nowhere_are_errors(loads: Load, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        loads(f"token_id: $MISSING\ntoken: file://{tmp_path}/none\n")
    first, second = caught.value.problems
    assert (first.place.line, first.key) == (1, "token_id")
    assert first.message == "refers to the environment variable MISSING, which is not set"
    assert second.message == f"refers to the file {tmp_path}/none, which cannot be read: No such file or directory"


def test_references_through_the_environment(loads: Load, tmp_path: Path) -> None:
    (tmp_path / "node-token").write_text("from-file\n\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "TZ": "UTC"}
    loaded = loads("token: file://${CREDENTIALS_DIRECTORY}/node-token\ntoken_id: a$b\n", environ)
    assert loaded.config.token.get_secret_value() == "from-file"
    assert loaded.config.token_id.get_secret_value() == "a$b"


def test_in_a_container_the_user_comes_from_the_environment(loads: Load, host: Path) -> None:
    text = "system: {username: in-file, user: {uid: 5, gid: 5}}\n"
    environ = {"WINGS_USERNAME": "games", "WINGS_UID": "1001", "WINGS_GID": "1002", "TZ": "UTC"}
    outside = loads(text, environ).config.system
    assert (outside.username, outside.user.uid, outside.user.gid) == ("in-file", 5, 5)
    inside = loads(text, {**environ, "OCI_CONTAINER": "official"}).config.system
    assert (inside.username, inside.user.uid, inside.user.gid) == ("games", 1001, 1002)
    plain = loads(text, {"OCI_CONTAINER": "x", "WINGS_UID": "", "TZ": "UTC"}).config.system
    assert (plain.username, plain.user.uid, plain.user.gid) == ("calagopus", 988, 988)
    (host / "etc").mkdir()
    (host / "etc/os-release").write_text("ID=distroless\n")
    assert loads(text, environ).config.system.username == "games"
    with pytest.raises(InvalidConfiguration, match=r"environment variable WINGS_UID: system.user.uid: root does not"):
        loads(text, {"OCI_CONTAINER": "x", "WINGS_UID": "root", "TZ": "UTC"})


def test_the_time_zone_is_found_in_order(loads: Load, host: Path) -> None:
    assert loads("system: {timezone: Asia/Tokyo}\n", {"TZ": "UTC"}).config.system.timezone == "Asia/Tokyo"
    assert loads("", {"TZ": "America/Lima"}).config.system.timezone == "America/Lima"
    offset = loads("", {}).config.system.timezone
    assert offset[0] in "+-"
    assert len(offset) == 6
    assert offset[3] == ":"
    (host / "etc").mkdir()
    (host / "etc/localtime").symlink_to("../usr/share/zoneinfo/Europe/Vienna")
    assert loads("", {}).config.system.timezone == "Europe/Vienna"
    (host / "etc/timezone").write_text(" Europe/Oslo \nmore\n")
    assert loads("", {}).config.system.timezone == "Europe/Oslo"
