"""A server's files as a driver sees them, and the judgement whether what was read is a whole backup (P1)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

from wings.archives.entry import Entry, Item, Source
from wings.archives.report import SourceReport, Trouble
from wings.archives.work import Work
from wings.backups.protocol import Estimate
from wings.errors import WingsError
from wings.files.ignore import gather
from wings.files.jail import Jail
from wings.files.walk import TreeSource

# What the user is told about, although the backup is whole without it. Ignored entries are his own wish.
_WORTH_SAYING = (
    Trouble.SPECIAL,
    Trouble.VANISHED,
    Trouble.UNREADABLE_FILE,
    Trouble.TORN,
    Trouble.CHANGED,
    Trouble.UNSTORABLE_NAME,
)


class IncompleteSource(WingsError):
    """Something that exists could not be read, so this would not be a whole backup."""

    code = "incomplete"


class ServerSource:
    """One server's directory for one create: jailed, ignore rules applied, judged at its end."""

    def __init__(
        self, server: UUID, path: Path, *, ignore: Sequence[str], estimate: Estimate, skip_unreadable_files: bool
    ) -> None:
        self.server = server
        self.estimate = estimate
        self._path = path
        self._ignore = ignore
        self._skip_unreadable_files = skip_unreadable_files
        self._walked: _JudgedWalk | None = None

    def walk(self, work: Work) -> Source:
        """Open the jail and start the walk. Its iterator raises ``IncompleteSource`` at the end of a bad walk."""
        self._walked = _JudgedWalk(Jail(self._path), self._ignore, work, self._skip_unreadable_files)
        return self._walked

    def warnings(self) -> list[str]:
        """What the last walk met and the user should know, one line each."""
        if self._walked is None:
            return []
        return [*self._walked.remarks, *self._walked.report.sentences(*_WORTH_SAYING)]

    def close(self) -> None:
        """Leave the jail. Safe to call twice."""
        if self._walked is not None:
            self._walked.close()


class _JudgedWalk:
    def __init__(self, jail: Jail, ignore: Sequence[str], work: Work, skip_unreadable_files: bool) -> None:
        self._jail = jail
        rules = gather(ignore, jail, ())
        self.remarks = rules.remarks
        self._tree = TreeSource(jail, rules, work)
        self._skip_unreadable_files = skip_unreadable_files

    @property
    def report(self) -> SourceReport:
        return self._tree.report

    @report.setter
    def report(self, report: SourceReport) -> None:
        self._tree.report = report

    def __iter__(self) -> Iterator[Item]:
        yield from self._tree
        # Raised here, inside the writer's loop, so that no driver can publish an archive of a bad walk.
        fatal = [Trouble.UNREADABLE_DIRECTORY]
        if not self._skip_unreadable_files:
            fatal.append(Trouble.UNREADABLE_FILE)
        if problems := self.report.sentences(*fatal):
            raise IncompleteSource(
                "not everything could be read: "
                + "; ".join(problems)
                + "; give the daemon's user permission, ignore these paths, or set "
                "wings.backups.unreadable_files to skip"
            )

    def again(self, entry: Entry) -> Item | None:
        return self._tree.again(entry)

    def close(self) -> None:
        self._jail.close()
