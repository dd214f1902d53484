"""One restore into a server's directory: room checked first, old files kept until it has succeeded (P3).

Satisfies ``RestoreTarget`` of the backups package. Two ways:

* staged: the new tree is made beside the old one, which it displaces in ``commit`` (``wayback.py``). Needs
  room for both.
* straight: old files are replaced as the new ones come; a failure leaves what was done by then.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from wings.archives.target import Target
from wings.errors import Conflict, InvalidInput, NoSpace, Refused, Unsupported, WingsError, shown
from wings.files.exchange import Plan
from wings.files.jail import Jail
from wings.files.space import Allowance, free_space, over_limit, readable, require
from wings.files.survivors import NONE, Denylist, Survivors
from wings.files.truncation import clear, occupied_bytes
from wings.files.undo_place import UNDO_PREFIX
from wings.files.wayback import Outcome, StuckHalfway, WayBack
from wings.files.writer import TreeWriter

AUTO, STAGED, STRAIGHT = "auto", "staged", "straight"

_FULL = {errno.ENOSPC, errno.EDQUOT}


class CannotRestore(WingsError):
    """A restore could not begin, or could not put complete files in the place of the old ones."""

    code = "cannot_restore"


class ServerRestoreTarget:
    """Where one restore writes; used once: ``prepare``, then ``commit`` or ``roll_back``.

    ``owner`` (uid, gid) is given to everything restored, ``None`` leaves it to the daemon's user. Paths
    that ``denylist`` names are not written, and survive ``truncate`` (W-22). ``mode`` is ``staged``,
    ``straight``, or ``auto``: staged when the disk has room for both. ``disk_limit`` is in bytes, ``None``
    or 0 for none; ``used_bytes`` tells what the server's files take of it now. ``reserve`` bytes stay free
    on the disk. ``warnings`` grows while it is used.
    """

    def __init__(
        self,
        root: Path,
        *,
        owner: tuple[int, int] | None,
        denylist: Iterable[str],
        truncate: bool,
        mode: str,
        disk_limit: int | None,
        used_bytes: Callable[[], int],
        reserve: int,
        fsync: bool,
    ) -> None:
        if mode not in (AUTO, STAGED, STRAIGHT):
            raise InvalidInput(f"'{shown(mode)}' is no way to restore; there are {AUTO}, {STAGED} and {STRAIGHT}")
        self.warnings: list[str] = []
        self._root = root
        self._owner = owner
        self._denylist = Denylist(denylist)
        self._truncate = truncate
        self._mode = mode
        self._disk_limit = disk_limit or None
        self._used_bytes = used_bytes
        self._reserve = reserve
        self._fsync = fsync
        self._way_back: WayBack | None = None
        self._writer: TreeWriter | None = None
        self._live: Jail | None = None
        self._irrevocable = False

    def prepare(self, content_bytes: int | None, files: int | None) -> Target:
        """Check the disk limit and the free space, clear the way, and return where to write.

        ``content_bytes`` is what the files take when unpacked, ``files`` their number; ``None`` is not
        known, and then nothing is checked beforehand. Raises ``NoSpace`` with nothing changed,
        ``Unsupported`` if staged is demanded and impossible here, ``UnusableRoot``, ``CannotRestore``,
        ``Refused``; ``Conflict`` or ``StuckHalfway`` if another restore into this directory is going on, or
        could not be undone.
        """
        try:
            return self._prepare(content_bytes, files)
        except OSError as error:
            raise _explained(error, self._root, "the restore could not begin") from error

    def _prepare(self, content_bytes: int | None, files: int | None) -> Target:
        self._settle_leftovers()
        with Jail(self._root) as live:
            survivors = self._denylist.survivors(live.root_fd) if self._truncate else NONE
            limit = self._allowed(survivors)
            if content_bytes is not None and limit is not None and survivors.bytes + content_bytes > limit:
                raise over_limit(survivors.bytes + content_bytes, limit)
            staged = self._room_for_both(live, content_bytes, files)
        if staged:
            try:
                self._way_back = WayBack.begin(self._root)
            except Unsupported as error:
                if self._mode == STAGED:
                    raise
                self.warnings.append(f"restored without a way back: {error}")
        if self._way_back is not None:
            return self._prepare_staged(self._way_back, survivors, limit)
        return self._prepare_straight(survivors, limit)

    def commit(self) -> None:
        """Let the restored files take the place of the old ones, for good.

        Raises ``NoSpace``, ``CannotRestore`` or ``Refused``; call ``roll_back`` then.
        """
        if self._writer is None:
            return
        try:
            if not self._writer.finished:
                self._writer.finish()
            self._writer.close()
            if self._way_back is not None:
                self._exchange(self._way_back, self._writer)
        except OSError as error:
            what = "the restored files could not take the place of the old ones"
            raise _explained(error, self._root, what) from error
        if self._way_back is None:
            self._close()

    def roll_back(self) -> None:
        """Give the server its old files back; nothing happens before ``prepare`` and after ``commit``.

        A straight restore cannot, and says so in ``warnings``. Raises ``StuckHalfway`` when something
        stands in the way.
        """
        if self._writer is not None:
            self._writer.close()
        if self._way_back is not None:
            self._way_back.roll_back()
        if self._irrevocable and self._live is not None:
            self.warnings.append(
                f"old files in {shown(self._root)} were replaced as the restore went on, and cannot be put back; "
                "restore again, this or another backup"
            )
        self._close()

    def _settle_leftovers(self) -> None:
        """An older restore that is still to be undone would undo this one at the next start."""
        for one in WayBack.recover(self._root):
            if one.outcome is Outcome.BUSY:
                raise Conflict(f"another restore into {shown(self._root)} is going on")
            if one.outcome is Outcome.FAILED:
                raise StuckHalfway(f"an earlier restore into {shown(self._root)} is to be undone first: {one}")
            self.warnings.append(f"an interrupted restore was settled: {one}")

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._live is not None:
            self._live.close()
            self._live = None

    def _allowed(self, survivors: Survivors) -> int | None:
        """Bytes that the server may hold in the end. One that is over its limit already may stay there."""
        if self._disk_limit is None or self._truncate:
            return self._disk_limit
        return max(self._disk_limit, self._used_bytes())

    def _room_for_both(self, live: Jail, content_bytes: int | None, files: int | None) -> bool:
        """Whether to keep the old files. Raises ``NoSpace`` when the new ones do not fit either way."""
        if content_bytes is None:
            return self._mode != STRAIGHT
        # A file takes whole blocks: one more than its bytes at most.
        needed = content_bytes + (files or 0) * min(os.fstatvfs(live.root_fd).f_frsize, 4096)
        inodes = files or 0
        fits = "to restore the backup while the old files are kept"
        if self._mode != STRAIGHT:
            try:
                require(self._root, needed, self._reserve, fits, inodes=inodes)
            except NoSpace as error:
                if self._mode == STAGED:
                    raise NoSpace(f"{error}, or restore in mode straight, which does not keep them") from error
                self._require_straight(live, needed)
                free = free_space(live.root_fd)
                self.warnings.append(
                    f"restored without a way back: {readable(needed)} are needed to keep the old files as well, "
                    f"{readable(free.bytes)} were free"
                )
                return False
            return True
        self._require_straight(live, needed)
        return False

    def _require_straight(self, live: Jail, needed: int) -> None:
        # How much of the old will be replaced is known only when it is; what cannot fit in any case is refused.
        free = free_space(live.root_fd).bytes
        if needed + self._reserve > free and needed + self._reserve > free + occupied_bytes(live.root_fd):
            require(self._root, needed, self._reserve, "to restore the backup")

    def _prepare_staged(self, way_back: WayBack, survivors: Survivors, limit: int | None) -> Target:
        self._writer = TreeWriter(
            way_back.staging,
            owner=self._owner,
            denied=self._denied,
            fsync=self._fsync,
            allowance=Allowance(limit, used=survivors.bytes),
            over=None if self._truncate else way_back.live,
            occupied=survivors.directories,
        )
        return self._writer

    def _prepare_straight(self, survivors: Survivors, limit: int | None) -> Target:
        self._live = Jail(self._root)
        self._irrevocable = True
        if self._truncate:
            clear(self._live.root_fd, survivors)
        used = survivors.bytes if self._truncate or limit is None else self._used_bytes()
        self._writer = TreeWriter(
            self._live,
            owner=self._owner,
            denied=self._denied,
            fsync=self._fsync,
            allowance=Allowance(limit, used=used),
            occupied=survivors.directories,
        )
        return self._writer

    def _exchange(self, way_back: WayBack, writer: TreeWriter) -> None:
        # Looked at once more: files of the denylist may have come while the archive was read.
        survivors = self._denylist.survivors(way_back.live.root_fd) if self._truncate else NONE
        plan = Plan(self._truncate, survivors, writer.made_unasked)
        way_back.exchange(plan, lambda replaced: self._judge_size(writer, replaced))
        self.warnings.extend(way_back.commit(fsync=self._fsync))

    def _judge_size(self, writer: TreeWriter, replaced: int) -> None:
        """Refuse a result over the disk limit; with truncation the writer has seen to that already."""
        if self._disk_limit is None or self._truncate:
            return
        used = self._used_bytes()
        result = used + writer.written_bytes - replaced
        if result > max(self._disk_limit, used):
            raise over_limit(result, self._disk_limit)

    def _denied(self, path: bytes) -> bool:
        return path.startswith(UNDO_PREFIX) or self._denylist.denies(path)


def _explained(error: OSError, root: Path, what: str) -> WingsError:
    name = f"{shown(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    text = f"{what} in {shown(root)}: {name}{error.strerror}"
    if error.errno in _FULL:
        with contextlib.suppress(OSError):
            text += f", {readable(free_space(root).bytes)} are free"
        return NoSpace(f"{text}; delete something there or use a larger disk, and restore again")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Refused(f"{text}; give the daemon's user the right to change these files")
    if error.errno in (errno.EXDEV, errno.EBUSY):
        return CannotRestore(f"{text}; something inside is a mount of its own: unmount it, or restore in mode straight")
    return CannotRestore(text)
