"""Everything wrong in one report with lines, secrets in none of it, unknown keys kept."""

import ipaddress
import traceback
from pathlib import Path

import pytest

from tests.config.conftest import Load
from wings.config.document import document, to_yaml
from wings.config.load import load
from wings.config.problems import InvalidConfiguration
from wings.errors import ConfigurationError

FAULTS = """\
debug: maybe
uuid: not-a-uuid
api:
  port: 80800
  port: 8080
  trusted_proxies:
  - 10.0.0.0/8
  - nonsense
  ssl: yes
system:
  sftp:
    bind_address: localhost
  backups:
    compression_level: fastest
    write_limit: fast
    wings:
      archive_format: rar
docker:
  registries:
    ghcr.io:
      username: me
  container_ulimits:
  - {name: nofile, soft: many, hard: 5}
  overhead:
    multipliers: {big: 1.5, 2048: high}
  network:
    dns: 1.1.1.1
throttles: []
remote_headers: text
"""


def test_every_problem_is_told_at_once_with_its_line(loads: Load, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        loads(FAULTS)
    at = f"{tmp_path}/config.yml"
    assert str(caught.value).splitlines() == [
        "17 problems in the configuration:",
        f"  {at}:1: debug: maybe does not fit, expected true or false",
        f"  {at}:2: uuid: not-a-uuid does not fit, expected a UUID such as 7dbbbb63-1734-48c4-e1de-d1a65f62cada",
        f"  {at}:4: api.port: 80800 does not fit, expected a whole number from 0 to 65535",
        f"  {at}:5: api.port: is given twice (first in line 4)",
        f"  {at}:8: api.trusted_proxies.1: nonsense does not fit, expected a network such as 10.0.0.0/8 or fd00::/8, "
        "or an IP address",
        f"  {at}:9: api.ssl: a single value does not fit, expected keys and values",
        f"  {at}:12: system.sftp.bind_address: localhost does not fit, expected an IP address",
        f"  {at}:14: system.backups.compression_level: fastest does not fit, expected one of best_speed, good_speed, "
        "good_compression, best_compression, none",
        f"  {at}:15: system.backups.write_limit: fast does not fit, expected MiB per second as a whole number, "
        "or bytes per second with a unit such as 50MiB; 0 = no limit",
        f"  {at}:17: system.backups.wings.archive_format: rar does not fit, expected one of tar_gz, tar, tar_xz, "
        "tar_lzip, tar_bz2, tar_lz4, tar_zstd, zip, seven_zip",
        f"  {at}:20: docker.registries.ghcr.io.password: is missing",
        f"  {at}:23: docker.container_ulimits.0.soft: many does not fit, expected a whole number "
        "from -9223372036854775808 to 9223372036854775807",
        f"  {at}:25: docker.overhead.multipliers.big: 'big' does not fit, expected a whole number",
        f"  {at}:25: docker.overhead.multipliers.2048: high does not fit, expected a number from 0 up, such as 1.05",
        f"  {at}:27: docker.network.dns: does not fit, expected a list",
        f"  {at}:28: throttles: a list does not fit, expected keys and values",
        f"  {at}:29: remote_headers: does not fit, expected a mapping of names to values",
    ]
    assert isinstance(caught.value, ConfigurationError)


def test_a_single_problem_is_one_line(loads: Load, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        loads("\n\napi: {port: http}\n")
    expected = "api.port: http does not fit, expected a whole number from 0 to 65535"
    assert str(caught.value) == f"{tmp_path}/config.yml:3: {expected}"


SECRET = "s3cr3tValue"


@pytest.mark.parametrize(
    "text",
    [
        f"token: [{SECRET}]\n",
        f"token: {{a: {SECRET}}}\n",
        f"token_id: [{SECRET}]\ntoken: {{{SECRET}: 1}}\n",
        f"token: {SECRET}\ndebug: 5\n",
        f"docker: {{registries: {{ghcr.io: {{password: {SECRET}}}}}}}\n",
        f"docker: {{registries: {{ghcr.io: {{username: x, password: [{SECRET}]}}}}}}\n",
        f"docker: {{registries: {{ghcr.io: {SECRET}}}}}\n",
        f"system: {{backups: {{restic: {{environment: {{RESTIC_PASSWORD: [{SECRET}]}}}}}}}}\n",
        f"system: {{backups: {{restic: {{environment: {SECRET}}}}}}}\n",
        f"remote_headers: [{SECRET}]\n",
        f"tokne: {SECRET}\ndebug: 5\n",
        f"token: '{SECRET}\ndebug: true\n",
        f"token: {SECRET}: x\n",
        f'token: "{SECRET}\\q"\n',
        f"{SECRET}\n",
    ],
)
def test_secrets_are_in_no_report(loads: Load, text: str) -> None:
    """P10: neither the text, nor a representation, nor a traceback shows them."""
    with pytest.raises(InvalidConfiguration) as caught:
        loads(text)
    if "{" + SECRET not in text:  # a key is no secret
        assert SECRET not in str(caught.value)
        assert SECRET not in repr(caught.value)
        chain = traceback.TracebackException.from_exception(caught.value, capture_locals=False)
        assert SECRET not in "".join(line for line in chain.format(chain=True) if "loads(text)" not in line)
        assert caught.value.__cause__ is None


def test_secrets_are_in_no_representation(loads: Load) -> None:
    """P10: printing a configuration shows no secret, a misspelt one neither."""
    loaded = loads(
        f"token: {SECRET}\ntoken_id: {SECRET}\ntokne: {SECRET}\nremote_headers: {{X: {SECRET}}}\n"
        f"docker: {{registries: {{r: {{username: u, password: {SECRET}}}}}}}\n"
        f"system: {{backups: {{restic: {{environment: {{P: {SECRET}}}}}}}}}\n"
    )
    for shown in (repr(loaded), str(loaded), repr(loaded.config), f"{loaded.config.token}", str(loaded.warnings)):
        assert SECRET not in shown
    assert loaded.config.token.get_secret_value() == SECRET
    assert loaded.config.docker.registries["r"].password.get_secret_value() == SECRET
    assert loaded.config.system.backups.restic.environment["P"].get_secret_value() == SECRET
    assert to_yaml(document(loaded.config)).count(SECRET) == 6


def test_unknown_keys_are_kept_at_every_depth_and_told(loads: Load, tmp_path: Path) -> None:
    text = (
        "apis: {port: 1}\n"
        "api:\n"
        "  prot: 0755\n"
        "  ssl: {kyes: [1, 'no', no, {a: ~}]}\n"
        "docker:\n"
        "  registries: {r: {username: u, password: p, region: 'on'}}\n"
        "  container_ulimits: [{name: nofile, soft: 1, hard: 1, note: x}]\n"
    )
    loaded = loads(text)
    assert loaded.unknown == (
        "api.ssl.kyes",
        "api.prot",
        "docker.registries.r.region",
        "docker.container_ulimits.0.note",
        "apis",
    )
    at = f"{tmp_path}/config.yml"
    assert f"{at}:3: api.prot is not a key of this daemon; it is kept and has no effect; did you mean api.port?" in (
        loaded.warnings
    )
    assert any(line.startswith(f"{at}:1: apis ") and line.endswith("did you mean api?") for line in loaded.warnings)
    written = to_yaml(document(loaded.config))
    assert "  prot: 0755\n" in written
    assert "    kyes:\n    - 1\n    - 'no'\n    - no\n    - a: ~\n" in written
    assert "      region: 'on'\n" in written
    assert "    note: x\n" in written
    assert written.endswith("apis:\n  port: 1\n")
    again = loads(written)
    assert again.config == loaded.config
    assert to_yaml(document(again.config)) == written


def test_an_unreadable_file_names_its_path(tmp_path: Path) -> None:
    missing = tmp_path / "none.yml"
    with pytest.raises(InvalidConfiguration, match=f"^{missing}: cannot be read: No such file or directory$"):
        load(missing, {})
    with pytest.raises(InvalidConfiguration, match=f"^{tmp_path}: cannot be read: Is a directory$"):
        load(tmp_path, {})
    binary = tmp_path / "binary.yml"
    binary.write_bytes(b"debug: true\napp_name: \xff\xfe\n")
    with pytest.raises(InvalidConfiguration, match=f"^{binary}:2: is not UTF-8 text$"):
        load(binary, {})


def test_a_half_written_file_is_refused_with_its_path(loads: Load, tmp_path: Path) -> None:
    whole = to_yaml(document(loads("").config))
    half = whole[: whole.index("single-request-reopen") + 4]
    assert loads(half).config.docker.network.dns_options[-1] == "sing"  # cannot be seen: hence the atomic write
    with pytest.raises(InvalidConfiguration, match=str(tmp_path)):
        loads(whole[: whole.index("'{root_directory}/volumes'") + 5])


def test_networks(loads: Load) -> None:
    text = "api: {trusted_proxies: [10.0.0.1/8, 192.0.2.1, '::1/128', '2001:db8::/32']}\n"
    config = loads(text).config
    assert config.api.trusted_proxies[0] == ipaddress.ip_network("10.0.0.0/8")
    assert document(config.api)["trusted_proxies"] == ["10.0.0.0/8", "192.0.2.1", "::1", "2001:db8::/32"]


def test_memory_multipliers_have_numbers_as_keys(loads: Load) -> None:
    config = loads("docker: {overhead: {multipliers: {2048: 1.1, '4096': 1}}}\n").config
    assert config.docker.overhead.multipliers == {2048: 1.1, 4096: 1.0}
    assert "    multipliers:\n      2048: 1.1\n      4096: 1.0\n" in to_yaml(document(config))


def test_zeros_that_would_break_something_count_as_one(loads: Load) -> None:
    config = loads(
        "api: {file_search_threads: 0, upload_limit: 0}\n"
        "system: {disk_check_interval: 0, full_disk_check_every: 0, websocket_log_count: 0,\n"
        "  disk_check_concurrency: 0, activity_send_interval: 0, backups: {wings: {create_threads: 0}}}\n"
        "remote_query: {retry_limit: 0}\n"
    ).config
    system = config.system
    assert (config.api.file_search_threads, system.backups.wings.create_threads) == (1, 1)
    assert (system.full_disk_check_every, system.disk_check_concurrency, system.activity_send_interval) == (1, 1, 1)
    assert config.remote_query.retry_limit == 1
    assert (system.disk_check_interval, system.regular_disk_checks) == (0, False)
    assert (system.websocket_log_count, system.console_buffer_lines) == (0, 1)
    assert config.api.upload_limit == 0


def test_a_host_that_is_no_address_is_a_socket(loads: Load) -> None:
    assert loads("api: {host: '::'}\n").config.api.socket_path is None
    assert loads("api: {host: 127.0.0.1}\n").config.api.socket_path is None
    assert loads("api: {host: /run/wings.sock}\n").config.api.socket_path == "/run/wings.sock"
