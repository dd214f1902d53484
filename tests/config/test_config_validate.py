"""What is refused and what is warned about once the types are right (config §5)."""

import pytest

from wings.config.change import with_values
from wings.config.models import Config
from wings.config.paths import ResolvedPaths
from wings.config.problems import InvalidConfiguration
from wings.config.validate import Mode, validate
from wings.config.values import DiskLimiterMode

NODE: dict[str, object] = {
    "remote": "https://panel.example.com",
    "system.user.uid": 988,
    "system.user.gid": 988,
}


def node(values: dict[str, object]) -> Config:
    return with_values(Config(), NODE | values)


def refused(config: Config, mode: Mode = Mode.PANEL) -> list[str]:
    with pytest.raises(InvalidConfiguration) as caught:
        validate(config, mode, source="config.yml")
    return [str(problem) for problem in caught.value.problems]


def test_the_defaults_with_a_panel_and_a_user_are_fine() -> None:
    assert validate(node({}), Mode.PANEL) == ()


def test_local_mode_needs_no_panel_and_no_user() -> None:
    assert validate(Config(), Mode.LOCAL) == ()


def test_all_errors_at_once() -> None:
    config = with_values(Config(), {"system.log_directory": "/", "system.tmp_directory": "", "system.data": "/../."})
    assert refused(config) == [
        "config.yml: system.user: refusing to use user with UID or GID of 0 (root), please check your wings config "
        "and change system.username to a non-root user",
        "config.yml: remote: invalid remote configuration, cannot connect to panel without a remote",
        "config.yml: system.log_directory: the log_directory '/' must have at least 1 segment(s)",
        "config.yml: system.data: the data_directory '/..' must have at least 1 segment(s)",
        "config.yml: system.tmp_directory: the tmp_directory '.' must have at least 1 segment(s)",
    ]
    assert len(refused(config, Mode.LOCAL)) == 3


def test_the_protocol_of_the_panel() -> None:
    (said,) = refused(node({"remote": "panel.example.com"}))
    assert said.endswith("cannot connect to panel without http:// or https:// protocol")
    assert validate(node({"remote": "http://10.0.0.1"}), Mode.PANEL) == ()


@pytest.mark.parametrize("key", ["uid", "gid"])
def test_root_is_refused_on_a_node(key: str) -> None:
    (said,) = refused(node({f"system.user.{key}": 0}))
    assert "refusing to use user with UID or GID of 0" in said


@pytest.mark.parametrize(
    ("values", "environ", "said"),
    [
        ({"api.send_offline_server_logs": True}, {}, "no logs will be sent for stopped servers"),
        (
            {"system.disk_limiter_mode": DiskLimiterMode.FUSE_QUOTA, "docker.delete_container_on_stop": False},
            {},
            "is not recommended",
        ),
        ({"system.disk_limiter_mode": DiskLimiterMode.FUSE_QUOTA}, {"OCI_CONTAINER": "official"}, "fragile"),
        ({"docker.network.name": "games"}, {}, "set it to games"),
    ],
)
def test_warnings(values: dict[str, object], environ: dict[str, str], said: str) -> None:
    (warning,) = validate(node(values), Mode.PANEL, environ)
    assert said in warning


def test_a_network_mode_of_its_own_is_fine() -> None:
    assert validate(node({"docker.network.name": "games", "docker.network.mode": "games"}), Mode.PANEL) == ()
    assert validate(node({"docker.network.mode": "host"}), Mode.PANEL) == ()


def test_the_placeholder_is_replaced_once_and_without_nesting() -> None:
    config = node({"system.root_directory": "/srv/{root_directory}", "system.data": "{root_directory}/v"})
    paths = ResolvedPaths.of(config)
    assert str(paths.root) == "/srv/{root_directory}"
    assert str(paths.data) == "/srv/{root_directory}/v"
    assert paths.passwd is None
