"""The ``system`` section but for backups: directories, user, checks, SFTP, file features (config §7.4-7.6)."""

import ipaddress

from wings.config.models_backups import Backups
from wings.config.quantities import Rate
from wings.config.section import Apply, Section, key, section
from wings.config.values import (
    U32,
    AtLeastOne,
    AtLeastOneSecond,
    ByteRate,
    Bytes,
    Count,
    DiskLimiterMode,
    Flag,
    Ip,
    Limiter,
    Port,
    Seconds,
    Text,
    ZstdLevel,
)


class Rootless(Section):
    """Container engines that run without root."""

    enabled: Flag = key(False, "The container engine is rootless (Podman).", Apply.BOOT)
    container_uid: U32 = key(0, "User id inside containers in that case.", Apply.CONTAINER)
    container_gid: U32 = key(0, "Group id inside containers in that case.", Apply.CONTAINER)


class User(Section):
    """The account that owns server files."""

    rootless: Rootless = section(Rootless, "Container engines that run without root.")
    uid: U32 = key(0, "User id of the account; found at each start. Never 0 on a node of a panel.", Apply.BOOT)
    gid: U32 = key(0, "Group id of the account; found at each start. Never 0 on a node of a panel.", Apply.BOOT)


class Passwd(Section):
    """Account files for containers."""

    enabled: Flag = key(False, "Give containers an /etc/passwd and /etc/group of their own.", Apply.BOOT)
    directory: Text = key("/run/calagopus-wings/etc", "Where these two files are made.", Apply.BOOT)


class MachineId(Section):
    """Machine identity inside containers."""

    enabled: Flag = key(
        True, "Give each server a machine-id that stays the same, for games bound to hardware.", Apply.CONTAINER
    )


class SftpLimits(Section):
    """What clients may use up."""

    authentication_password_attempts: Count = key(
        3, "Failed passwords per client address before it has to wait.", Apply.BOOT
    )
    authentication_pubkey_attempts: Count = key(20, "Failed keys per client address before it has to wait.", Apply.BOOT)
    authentication_cooldown: Seconds = key(60, "How long it has to wait; 0 = no such limits.", Apply.BOOT)
    max_connections_per_user: Count = key(10, "Connections at a time per account.")
    max_channels_per_connection: Count = key(10, "Channels at a time per connection.")
    max_handles_per_channel: Count = key(32, "Open files per channel.")
    max_handles_total: Count = key(1024, "Open files of all connections together.")


class SftpCli(Section):
    """Commands of the console over SSH."""

    name: Text = key(".wings", "Word that starts a built-in command.")


class SftpShell(Section):
    """The console over SSH."""

    enabled: Flag = key(True, "Whether users get the server console over SSH.")
    cli: SftpCli = section(SftpCli, "Built-in commands.")


class SftpActivity(Section):
    """What is reported to the panel."""

    log_logins: Flag = key(False, "Report logins as activity.")
    log_file_reads: Flag = key(False, "Report files that are read as activity.")


class Sftp(Section):
    """Access to server files over SSH."""

    enabled: Flag = key(True, "Whether to listen for SFTP at all.", Apply.BOOT)
    bind_address: Ip = key(
        ipaddress.ip_address("0.0.0.0"),  # noqa: S104 - users reach the node from outside; the schema's default
        "Address to listen on.",
        Apply.BOOT,
    )
    bind_port: Port = key(2022, "Port to listen on.", Apply.BOOT)
    read_only: Flag = key(False, "Refuse everything that would change a file.")
    key_algorithm: Text = key("ssh-ed25519", "OpenSSH name of the host key that is made when none exists.", Apply.BOOT)
    disable_password_auth: Flag = key(False, "Accept keys only.")
    directory_entry_limit: Count = key(20000, "Most entries of one directory listing.")
    directory_entry_send_amount: AtLeastOne = key(500, "Entries per answer within a listing.")
    limits: SftpLimits = section(SftpLimits, "What clients may use up.")
    shell: SftpShell = section(SftpShell, "The console over SSH.")
    activity: SftpActivity = section(SftpActivity, "What is reported to the panel.")


class CrashDetection(Section):
    """Restarting servers that crashed."""

    enabled: Flag = key(True, "Start a crashed server again.")
    detect_clean_exit_as_crash: Flag = key(True, "Exit code 0 without a stop request is a crash, too.")
    timeout: Seconds = key(60, "Two crashes within this time: the server stays down.")


class FileHistory(Section):
    """Old versions of edited files."""

    enabled: Flag = key(True, "Keep old versions of files that are edited.")
    zstd_level: ZstdLevel = key(19, "How hard to compress them.")
    anchor_interval: AtLeastOne = key(4, "Differences between two complete copies.")
    keep_chains: AtLeastOne = key(5, "Complete copies with their differences kept per file.")
    file_size_cap: Bytes = key(1048576, "Larger files are left out.")
    per_file_disk_budget: Bytes = key(5242880, "Most space per file.")
    per_server_disk_budget: Bytes = key(209715200, "Most space per server.")
    maintenance_interval: Seconds = key(3600, "Time between two clean-ups.")


class FileCollaboration(Section):
    """Several people editing one file."""

    enabled: Flag = key(True, "Allow editing together.")
    file_size_cap: Bytes = key(1048576, "Larger files are left out.")
    max_sessions_per_server: Count = key(16, "Files open at a time per server.")
    max_sessions_per_connection: Count = key(8, "Files open at a time per connection.")
    max_editors_per_session: Count = key(32, "People per file.")
    max_cursors_per_connection: Count = key(64, "Cursors per connection.")
    session_grace_period: Seconds = key(30, "How long a file stays open after the last one left.")


class Transfers(Section):
    """Moving servers between nodes."""

    download_limit: ByteRate = key(
        Rate(0), "Rate at which this node receives a server. A number counts MiB per second, 0 = no limit."
    )


class System(Section):
    """This machine: directories, accounts, checks and what servers may use of it."""

    root_directory: Text = key(
        "/var/lib/calagopus-wings",
        "Where the daemon keeps its state. Other paths may contain {root_directory}.",
        Apply.BOOT,
    )
    log_directory: Text = key("/var/log/calagopus-wings", "Log files.", Apply.BOOT)
    data: Text = key("{root_directory}/volumes", "Server files, one directory per server.", Apply.BOOT)
    diffs_directory: Text = key("{root_directory}/diffs", "Old versions of edited files.", Apply.BOOT)
    vmount_directory: Text = key("{root_directory}/vmounts", "Files generated for containers.", Apply.BOOT)
    archive_directory: Text = key("{root_directory}/archives", "Made for compatibility and not used.", Apply.BOOT)
    backup_directory: Text = key("{root_directory}/backups", "Backups kept on this machine.", Apply.BOOT)
    tmp_directory: Text = key(
        "/tmp/calagopus-wings",  # noqa: S108 - the schema's default; made with mode 0700
        "Install scripts. Must be the same path for the container engine.",
        Apply.BOOT,
    )
    username: Text = key("calagopus", "Account that owns server files; made when missing.", Apply.BOOT)
    timezone: Text = key(
        "+00:00",
        "Time zone of containers and schedules, such as Europe/Paris. Taken from this machine when missing.",
        Apply.CONTAINER,
    )
    user: User = section(User, "The account that owns server files.")
    passwd: Passwd = section(Passwd, "Account files for containers.")
    machine_id: MachineId = section(MachineId, "Machine identity inside containers.")
    disk_check_concurrency: AtLeastOne = key(2, "Disk usage scans at a time.")
    disk_check_interval: Seconds = key(150, "Time between two scans of one server; 0 = no regular scans.")
    full_disk_check_every: AtLeastOne = key(
        4, "Every n-th scan reads everything, the others only directories that changed."
    )
    disk_check_use_inotify: Flag = key(True, "Learn from the kernel which directories changed.")
    disk_limiter_mode: Limiter = key(DiskLimiterMode.NONE, "How disk limits are enforced.", Apply.BOOT)
    activity_send_interval: AtLeastOneSecond = key(60, "Time between two reports of activity to the panel.")
    activity_send_count: Count = key(100, "Most entries of one such report.")
    check_permissions_on_boot: Flag = key(True, "Correct the owner of all files before a server starts.")
    check_permissions_on_boot_threads: AtLeastOne = key(4, "Threads for that, and for changing modes.")
    websocket_log_count: Count = key(150, "Lines of log that a console gets when it opens.")
    tcp_congestion_control: Text = key(
        "bbr", "Congestion control of listeners and transfers; empty = as the system has it.", Apply.BOOT
    )
    sftp: Sftp = section(Sftp, "Access to server files over SSH.")
    crash_detection: CrashDetection = section(CrashDetection, "Restarting servers that crashed.")
    file_history: FileHistory = section(FileHistory, "Old versions of edited files.")
    file_collaboration: FileCollaboration = section(FileCollaboration, "Several people editing one file.")
    backups: Backups = section(Backups, "Backups of servers.")
    transfers: Transfers = section(Transfers, "Moving servers between nodes.")

    @property
    def regular_disk_checks(self) -> bool:
        """Whether servers are scanned at intervals: an interval of 0 switches that off (config §5)."""
        return self.disk_check_interval > 0

    @property
    def console_buffer_lines(self) -> int:
        """Lines a console channel holds: 0 configured lines still need a channel of one (config §5)."""
        return max(self.websocket_log_count, 1)
