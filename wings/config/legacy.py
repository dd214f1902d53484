"""Files written for Pterodactyl and Pelican, and by older and newer daemons of our kind (config §11-13).

Keys with another name are copied to ours unless ours is there, too. The old key stays in the file, so that
an operator can go back; ours wins from then on.
"""

from pathlib import Path

from wings.config.tree import BOOLEANS, MapNode, Place, Scalar, find, place_of, put

# Their key, ours. Values mean the same.
_RENAMED = (
    ("docker.network.network_mode", "docker.network.mode"),
    ("system.user.passwd.enable", "system.passwd.enabled"),
    ("system.user.passwd.directory", "system.passwd.directory"),
    ("system.machine_id.enable", "system.machine_id.enabled"),
    ("system.sftp.key_only", "system.sftp.disable_password_auth"),
    ("remote_query.custom_headers", "remote_headers"),
    ("docker.network.IPv6", "docker.network.interfaces.v6.enabled"),
)

# The reference daemon takes this one as another name of `mode` and refuses files that have both.
_DROPPED_ONCE_COPIED = "network_mode"

# Keys of other daemons that have no meaning here: kept without a warning. A prefix stands for all below it.
FOREIGN_KEYS = (
    *(theirs for theirs, _ in _RENAMED),
    "system.enable_log_rotate",
    "system.openat_mode",
    "system.user.passwd",
    "system.machine_id.directory",
    "system.quotas",
    "system.crash_detection_activity_lines",
    "system.crash_detection.activity_lines",
    "system.transfers.storage_pool",
    "system.disk_check_threads",
    "docker.use_performant_inspect",
    "Search",
    "search",
    "BlockBaseDirMount",
    "api.file_search_context",
    "api.file_delete_threads",
    "api.file_fingerprint_threads",
    "api.request_log_limit",
    "limits",
    "system.websocket",
    "system.backups.s3.streaming",
    "docker.firewall",
    "docker.bandwidth",
    "docker.runtime_boost",
    "docker.lxcfs",
    "tundra",
    "allowed_devices",
)

_NEIGHBOURS = ("pterodactyl", "pelican")
_ADOPTED = (
    ("system.root_directory", "var/lib/{name}"),
    ("system.log_directory", "var/log/{name}"),
    ("system.data", "var/lib/{name}/volumes"),
    ("system.archive_directory", "var/lib/{name}/archives"),
    ("system.backup_directory", "var/lib/{name}/backups"),
)


def translate(tree: MapNode) -> list[str]:
    """Give foreign keys their names here. Returns warnings about what cannot be taken over."""
    warnings: list[str] = []
    for theirs, ours in _RENAMED:
        value = find(tree, theirs)
        if value is not None and find(tree, ours) is None:
            put(tree, ours, value, _place(tree, theirs))
    network = find(tree, "docker.network")
    if isinstance(network, MapNode):
        network.pop(_DROPPED_ONCE_COPIED, None)
    quotas = find(tree, "system.quotas.enabled")
    if isinstance(quotas, Scalar) and BOOLEANS.get(quotas.text):
        warnings.append(
            f"{quotas.place}: system.quotas.enabled has no effect here; the nearest is "
            "system.disk_limiter_mode: xfs_quota, which needs a file system mounted with project quotas"
        )
    warnings += _take_over_pull_limit(tree)
    return warnings


def adopt_directories(tree: MapNode, path: Path, host: Path = Path("/")) -> list[str]:
    """For a file below /etc/pterodactyl or /etc/pelican: that daemon's directories where a path is missing.

    A minimal file names only some paths, and our defaults for the rest would leave states, backups and logs
    behind; so a directory of theirs that exists is preferred. ``host`` is the root of the file system.
    Returns what was adopted, in words.
    """
    said: list[str] = []
    neighbour = next((name for name in _NEIGHBOURS if path.parent == host / "etc" / name), None)
    if neighbour is None:
        return said
    place = Place(str(path))
    for key, pattern in _ADOPTED:
        theirs = pattern.format(name=neighbour)
        if find(tree, key) is None and (host / theirs).is_dir():
            put(tree, key, Scalar(f"/{theirs}", plain=False, place=place), place)
            said.append(f"{path}: {key} is not given; using /{theirs}, which exists from before")
    return said


def _take_over_pull_limit(tree: MapNode) -> list[str]:
    theirs, ours = "limits.server_concurrent_pulls", "api.server_remote_download_limit"
    newer = find(tree, theirs)
    if newer is None or find(tree, ours) is not None:
        return []
    if isinstance(newer, Scalar) and newer.text == "0":  # there no limit, here none allowed
        return [f"{newer.place}: {theirs}: 0 (no limit) is not taken over; {ours} decides"]
    put(tree, ours, newer, _place(tree, theirs))
    return []


def _place(tree: MapNode, path: str) -> Place:
    names = tuple(path.split("."))
    return place_of(tree, names, tree.places[names[0]])
