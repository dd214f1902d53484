"""The ``wings`` section: settings that only this daemon has. Others ignore them."""

from wings.config.quantities import Size
from wings.config.section import Apply, Section, key, section
from wings.config.values import (
    AtLeastOne,
    ByteSize,
    Days,
    Flag,
    RestoreMode,
    Restoring,
    Seconds,
    Text,
    Unreadable,
    UnreadableFiles,
)


class WingsBackups(Section):
    """How backups are made and restored."""

    restore_mode: Restoring = key(
        RestoreMode.AUTO,
        "staged keeps the old files until a restore has succeeded, straight replaces them as it goes, "
        "auto is staged when the disk has room for both.",
    )
    unreadable_files: Unreadable = key(
        UnreadableFiles.FAIL,
        "Whether a file that cannot be read makes the backup fail, or is left out with a warning.",
    )
    parallel_creates: AtLeastOne = key(2, "Backups made at a time.", Apply.BOOT)
    parallel_restores: AtLeastOne = key(2, "Backups restored at a time.", Apply.BOOT)
    reserve_space: ByteSize = key(
        Size("512MiB"), "Free space that a backup must leave on the disk; a number counts bytes."
    )
    default_adapter: Text = key("wings", "Adapter of backups for which none is named.")


class WingsJobs(Section):
    """Records of what was done."""

    keep_days: Days = key(30, "How long finished jobs are remembered.")


class WingsMetrics(Section):
    """Figures for monitoring."""

    enabled: Flag = key(True, "Serve /metrics.", Apply.BOOT)


class Wings(Section):
    """Settings that only this daemon has."""

    backups: WingsBackups = section(WingsBackups, "How backups are made and restored.")
    jobs: WingsJobs = section(WingsJobs, "Records of what was done.")
    metrics: WingsMetrics = section(WingsMetrics, "Figures for monitoring.")
    shutdown_timeout: Seconds = key(10, "How long a stop waits for running work before it is cut off.")
