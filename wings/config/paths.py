"""Directories of the daemon with the placeholder filled in, and their creation."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wings.config.models import Config
from wings.errors import ConfigurationError, shown

PLACEHOLDER = "{root_directory}"


@dataclass(frozen=True, slots=True)
class Directory:
    """One of the eight directories: its key below ``system``, its name in messages (config §5)."""

    key: str
    name: str


DIRECTORIES = (
    Directory("root_directory", "root_directory"),
    Directory("log_directory", "log_directory"),
    Directory("data", "data_directory"),
    Directory("diffs_directory", "diffs_directory"),
    Directory("vmount_directory", "vmount_directory"),
    Directory("archive_directory", "archive_directory"),
    Directory("backup_directory", "backup_directory"),
    Directory("tmp_directory", "tmp_directory"),
)


@dataclass(frozen=True, slots=True)
class ResolvedPaths:
    """Where things are. ``passwd`` is where account files for containers go, if they are wanted."""

    root: Path
    log: Path
    data: Path
    diffs: Path
    vmount: Path
    archive: Path
    backup: Path
    tmp: Path
    passwd: Path | None

    @classmethod
    def of(cls, config: Config) -> "ResolvedPaths":
        """The directories of a configuration."""
        system = config.system
        return cls(
            root=Path(system.root_directory),
            log=Path(expand(config, system.log_directory)),
            data=Path(expand(config, system.data)),
            diffs=Path(expand(config, system.diffs_directory)),
            vmount=Path(expand(config, system.vmount_directory)),
            archive=Path(expand(config, system.archive_directory)),
            backup=Path(expand(config, system.backup_directory)),
            tmp=Path(expand(config, system.tmp_directory)),
            passwd=Path(expand(config, system.passwd.directory)) if system.passwd.enabled else None,
        )

    def all(self) -> Iterator[tuple[Directory, Path]]:
        """The eight directories, told by key and name."""
        eight = (self.root, self.log, self.data, self.diffs, self.vmount, self.archive, self.backup, self.tmp)
        return zip(DIRECTORIES, eight, strict=True)


def expand(config: Config, text: str) -> str:
    """Replace the placeholder by the raw text of ``system.root_directory``, once and without nesting.

    For the eight directories, ``system.passwd.directory`` and the two restic paths; other keys have none.
    """
    return text.replace(PLACEHOLDER, config.system.root_directory)


def create_directories(paths: ResolvedPaths) -> tuple[Path, ...]:
    """Make the directories that are missing; returns those that were made.

    Mode 0700 (0755 for account files), whatever the umask, on these only: what exists keeps its mode.
    Raises ``ConfigurationError`` naming the directory that cannot be made.
    """
    made: list[Path] = []
    wanted = [(directory.name, path, 0o700) for directory, path in paths.all()]
    if paths.passwd is not None:
        wanted.append(("passwd directory", paths.passwd, 0o755))
    for name, path, mode in wanted:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=mode)
            os.chmod(path, mode)
        except FileExistsError:
            if not path.is_dir():
                raise ConfigurationError(f"the {name} {shown(path)} exists and is not a directory") from None
        except OSError as error:
            raise ConfigurationError(f"the {name} {shown(path)} cannot be made: {error.strerror}") from error
        else:
            made.append(path)
    return tuple(made)
