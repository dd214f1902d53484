"""The ``system.backups`` section: limits, compression, and one section per adapter (config §7.7, §9)."""

from wings.archives.formats import ArchiveFormat, CompressionLevel
from wings.config.quantities import Rate
from wings.config.section import Section, key, optional, section
from wings.config.values import (
    AtLeastOne,
    ByteRate,
    ChunkCompression,
    Chunks,
    Flag,
    Level,
    Seconds,
    SecretMapValue,
    StoredFormat,
    Text,
)


class Mounting(Section):
    """Backups shown as directories."""

    enabled: Flag = key(True, "Show backups as read-only directories inside the server.")
    path: Text = key(".backups", "Where, relative to the server's directory.")


class LocalBackups(Section):
    """Archives on this machine (adapter wings)."""

    create_threads: AtLeastOne = key(4, "Threads that compress one backup.")
    restore_threads: AtLeastOne = key(4, "Threads that unpack one backup.")
    archive_format: StoredFormat = key(
        ArchiveFormat.TAR_GZ, "Format of new backups; those that exist are found in any format."
    )


class S3Backups(Section):
    """Archives in object storage (adapter s3)."""

    create_threads: AtLeastOne = key(4, "Threads that compress one backup.")
    part_upload_timeout: Seconds = key(7200, "Longest time one part may take.")
    retry_limit: AtLeastOne = key(10, "Attempts per part.")


class DdupBakBackups(Section):
    """The deduplicating store on this machine (adapter ddup-bak)."""

    create_threads: AtLeastOne = key(4, "Threads that make one backup.")
    compression_format: Chunks = key(ChunkCompression.DEFLATE, "Compression of new chunks.")


class ResticBackups(Section):
    """A restic repository (adapter restic)."""

    repository: Text = key(
        "{root_directory}/backups/restic",
        "Repository that is used when the password file below exists; otherwise the panel names one.",
    )
    password_file: Text = key("{root_directory}/backups/restic_password", "File with its password.")
    retry_lock_seconds: Seconds = key(60, "How long restic waits for a locked repository.")
    environment: dict[str, SecretMapValue] = key({}, "Environment of the restic process, such as credentials.")


class BtrfsBackups(Section):
    """Snapshots of btrfs (adapter btrfs)."""

    restore_threads: AtLeastOne = key(4, "Files copied at a time.")
    create_read_only: Flag = key(True, "Make snapshots read-only.")


class ZfsBackups(Section):
    """Snapshots of ZFS (adapter zfs)."""

    restore_threads: AtLeastOne = key(4, "Files copied at a time.")


class PbsBackups(Section):
    """A Proxmox Backup Server (adapter proxmox-backup-server)."""

    create_threads: AtLeastOne = key(4, "Threads that compress chunks for upload.")
    download_concurrency: AtLeastOne = key(4, "Chunks fetched at a time.")


class Backups(Section):
    """Backups of servers."""

    write_limit: ByteRate = key(
        Rate(0),
        "Rate of making one backup. A number counts MiB per second, text with a unit bytes per second "
        "(50MiB); 0 = no limit.",
    )
    read_limit: ByteRate = key(Rate(0), "Rate of restoring one backup, written the same way; 0 = no limit.")
    compression_level: Level = key(
        CompressionLevel.BEST_SPEED,
        "Compression of everything this node archives. none is accepted from Pterodactyl and stores without.",
    )
    mounting: Mounting = section(Mounting, "Backups shown as directories.")
    wings: LocalBackups = section(LocalBackups, "Archives on this machine (adapter wings).")
    s3: S3Backups = section(S3Backups, "Archives in object storage (adapter s3).")
    ddup_bak: DdupBakBackups = section(DdupBakBackups, "Deduplicating store on this machine (adapter ddup-bak).")
    restic: ResticBackups = section(ResticBackups, "restic repository (adapter restic).")
    btrfs: BtrfsBackups = section(BtrfsBackups, "btrfs snapshots (adapter btrfs).")
    zfs: ZfsBackups = section(ZfsBackups, "ZFS snapshots (adapter zfs).")
    pbs: PbsBackups = section(PbsBackups, "Proxmox Backup Server.")
    restore_host_allowlist: tuple[Text, ...] | None = optional(
        "Known from Pelican: hosts a restore may download from; empty or missing = any."
    )
    remove_backups_on_server_delete: Flag | None = optional(
        "Known from Pelican: whether the backups of a deleted server go with it."
    )
