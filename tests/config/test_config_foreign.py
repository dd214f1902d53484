"""Files of Pterodactyl, Pelican and of other versions of our own kind load (config §11 to §13)."""

from pathlib import Path

import pytest

from tests.config.conftest import Load
from wings.archives.formats import CompressionLevel
from wings.config.document import document, to_yaml
from wings.config.load import load

PTERODACTYL = """\
debug: false
app_name: Pterodactyl
uuid: 9f2c0b1e-3c0e-4a7b-8d62-0d2b8c1f7a11
token_id: abcdefghijklmnop
token: 0123456789012345678901234567890123456789012345678901234567890123
api:
  host: 0.0.0.0
  port: 8080
  ssl:
    enabled: true
    cert: /etc/letsencrypt/live/node.example.com/fullchain.pem
    key: /etc/letsencrypt/live/node.example.com/privkey.pem
  disable_remote_download: false
  upload_limit: 100
  trusted_proxies: []
system:
  root_directory: /var/lib/pterodactyl
  log_directory: /var/log/pterodactyl
  data: /var/lib/pterodactyl/volumes
  archive_directory: /var/lib/pterodactyl/archives
  backup_directory: /var/lib/pterodactyl/backups
  tmp_directory: /tmp/pterodactyl
  username: pterodactyl
  timezone: Europe/Paris
  user:
    rootless:
      enabled: false
      container_uid: 0
      container_gid: 0
    uid: 988
    gid: 988
  passwd:
    enabled: false
    directory: /run/wings/etc
  machine_id:
    enabled: true
    directory: /run/wings/machine-id
  disk_check_interval: 150
  activity_send_interval: 60
  activity_send_count: 100
  check_permissions_on_boot: true
  enable_log_rotate: true
  websocket_log_count: 150
  sftp:
    bind_address: 0.0.0.0
    bind_port: 2022
    read_only: false
  crash_detection:
    enabled: true
    detect_clean_exit_as_crash: true
    timeout: 60
  backups:
    write_limit: 0
    compression_level: none
    restore_host_allowlist: [backups.example.com]
  transfers:
    download_limit: 0
  openat_mode: auto
docker:
  network:
    interface: 172.18.0.1
    dns:
    - 1.1.1.1
    - 1.0.0.1
    name: pterodactyl_nw
    ispn: false
    driver: bridge
    network_mode: pterodactyl_nw
    is_internal: false
    enable_icc: true
    network_mtu: 1500
    interfaces:
      v4:
        subnet: 172.18.0.0/16
        gateway: 172.18.0.1
      v6:
        subnet: fdba:17c8:6c94::/64
        gateway: fdba:17c8:6c94::1011
  domainname: ""
  registries: {}
  tmpfs_size: 100
  container_pid_limit: 512
  installer_limits:
    memory: 1024
    cpu: 100
  overhead:
    override: false
    default_multiplier: 1.05
    multipliers: {}
  use_performant_inspect: true
  userns_mode: ""
  log_config:
    type: local
    config:
      compress: "false"
      max-file: "1"
      max-size: 5m
      mode: non-blocking
throttles:
  enabled: true
  lines: 2000
  line_reset_interval: 100
remote: https://panel.example.com
remote_query:
  timeout: 30
  boot_servers_per_page: 50
allowed_mounts: []
allowed_origins: []
allow_cors_private_network: false
ignore_panel_config_updates: false
"""

PELICAN = """\
uuid: 9f2c0b1e-3c0e-4a7b-8d62-0d2b8c1f7a11
token_id: $NODE_ID
token: file://{secret}
api:
  remote_download: {{max_redirects: 3}}
system:
  user: {{uid: 988, gid: 988, passwd: {{enable: true, directory: /etc/pelican}}}}
  machine_id: {{enable: false, directory: /run/x}}
  sftp: {{key_only: true}}
  quotas: {{enabled: true}}
  crash_detection_activity_lines: 2
  backups: {{remove_backups_on_server_delete: true}}
  transfers: {{storage_pool: {{enabled: false, pool_name: x}}}}
docker:
  system_ips: [192.0.2.1, 192.0.2.2]
  network: {{IPv6: false}}
remote_query:
  custom_headers: {{CF-Access-Client-Id: x}}
Search: {{blacklisted_dirs: [a], max_recursion_depth: 8}}
BlockBaseDirMount: true
remote: https://panel.example.com
"""


def test_a_complete_pterodactyl_file_loads(loads: Load) -> None:
    loaded = loads(PTERODACTYL)
    config = loaded.config
    assert loaded.warnings == ()
    assert config.docker.network.mode == "pterodactyl_nw"
    assert config.system.backups.compression_level is CompressionLevel.STORE
    assert config.docker.network.interfaces.v6.enabled is True
    assert config.system.passwd.directory == "/run/wings/etc"
    assert config.system.backups.restore_host_allowlist == ("backups.example.com",)
    assert config.token.get_secret_value().startswith("0123")


def test_a_foreign_file_written_back_keeps_what_its_own_daemon_needs(loads: Load) -> None:
    written = to_yaml(document(loads(PTERODACTYL).config))
    for line in ("  openat_mode: auto\n", "  enable_log_rotate: true\n", "    compression_level: none\n"):
        assert line in written
    assert "  use_performant_inspect: true\n" in written
    # The reference daemon refuses a file that has both names.
    assert "network_mode" not in written
    assert loads(written).config == loads(PTERODACTYL).config


def test_a_pelican_file_loads(loads: Load, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("the-token\n")
    loaded = loads(PELICAN.format(secret=secret), {"NODE_ID": "node-17", "TZ": "UTC"})
    config = loaded.config
    assert (config.token_id.get_secret_value(), config.token.get_secret_value()) == ("node-17", "the-token")
    assert (config.system.passwd.enabled, config.system.passwd.directory) == (True, "/etc/pelican")
    assert config.system.machine_id.enabled is False
    assert config.system.sftp.disable_password_auth is True
    assert config.docker.network.interfaces.v6.enabled is False
    assert config.remote_headers["CF-Access-Client-Id"].get_secret_value() == "x"
    assert config.docker.system_ips == ("192.0.2.1", "192.0.2.2")
    assert config.api.remote_download is not None
    assert config.api.remote_download.max_redirects == 3
    assert config.system.backups.remove_backups_on_server_delete is True
    (quotas,) = loaded.warnings
    assert "system.quotas.enabled has no effect here" in quotas
    written = to_yaml(document(config))
    assert f"token_id: $NODE_ID\ntoken: file://{secret}\n" in written
    assert "the-token" not in written
    assert "  passwd:\n      enable: true" in written


def test_our_own_name_wins_over_theirs(loads: Load) -> None:
    config = loads(
        "docker: {network: {mode: mine, network_mode: theirs, IPv6: false, interfaces: {v6: {enabled: true}}}}\n"
        "system: {sftp: {key_only: true, disable_password_auth: false}}\n"
    ).config
    assert config.docker.network.mode == "mine"
    assert config.docker.network.interfaces.v6.enabled is True
    assert config.system.sftp.disable_password_auth is False


def test_a_wrong_value_under_a_foreign_name_is_blamed_on_its_line(loads: Load) -> None:
    with pytest.raises(Exception, match=r"config.yml:4: system.sftp.disable_password_auth: often does not fit"):
        loads("system:\n  data: /srv\n  sftp:\n    key_only: often\n")


def test_keys_of_later_versions_are_kept_quietly(loads: Load) -> None:
    text = (
        "limits: {server_concurrent_pulls: 7, server_concurrent_operations: 0}\n"
        "tundra: {enabled: false}\n"
        "allowed_devices: []\n"
        "system: {websocket: {max_message_size: 1}, disk_check_threads: 2,\n"
        "  backups: {s3: {streaming: true}, ddup_bak: {compression_format: zstd}}}\n"
        "docker: {firewall: {backend: nftables}}\n"
    )
    loaded = loads(text)
    assert loaded.warnings == ()
    assert loaded.config.api.server_remote_download_limit == 7
    assert loaded.config.system.backups.ddup_bak.compression_format == "zstd"
    assert "tundra:\n  enabled: false\n" in to_yaml(document(loaded.config))
    unlimited = loads("limits: {server_concurrent_pulls: 0}\n")
    assert unlimited.config.api.server_remote_download_limit == 3
    assert "0 (no limit) is not taken over" in unlimited.warnings[0]


def test_what_the_panel_generates_is_enough(loads: Load) -> None:
    config = loads(
        "uuid: 7dbbbb63-1734-48c4-e1de-d1a65f62cada\ntoken_id: abcdefghijklmnop\ntoken: xyz\n"
        "api:\n port: 8443\n disable_openapi_docs: true\n upload_limit: 0\n"
        "system:\n sftp:\n  bind_port: 2023\nremote: https://panel.example.com\n"
    ).config
    assert (config.api.port, config.system.sftp.bind_port, config.api.upload_limit) == (8443, 2023, 0)
    assert str(config.uuid) == "7dbbbb63-1734-48c4-e1de-d1a65f62cada"


@pytest.mark.parametrize("name", ["pterodactyl", "pelican"])
def test_a_minimal_file_of_a_neighbour_uses_the_directories_it_left(host: Path, name: str) -> None:
    path = host / "etc" / name / "config.yml"
    path.parent.mkdir(parents=True)
    path.write_text(f"remote: https://panel.example.com\nsystem:\n  data: /var/lib/{name}/volumes\n")
    for directory in (f"var/lib/{name}/backups", f"var/log/{name}"):
        (host / directory).mkdir(parents=True)
    loaded = load(path, {"TZ": "UTC"}, host)
    system = loaded.config.system
    assert system.root_directory == f"/var/lib/{name}"
    assert system.backup_directory == f"/var/lib/{name}/backups"
    assert system.log_directory == f"/var/log/{name}"
    assert system.archive_directory == "{root_directory}/archives"
    assert len(loaded.warnings) == 3
    assert "which exists from before" in loaded.warnings[0]


def test_directories_of_neighbours_do_not_matter_for_our_own_file(host: Path) -> None:
    (host / "var/lib/pterodactyl/backups").mkdir(parents=True)
    path = host / "etc/calagopus-wings/config.yml"
    path.parent.mkdir(parents=True)
    path.write_text("remote: https://panel.example.com\n")
    assert load(path, {"TZ": "UTC"}, host).config.system.root_directory == "/var/lib/calagopus-wings"
