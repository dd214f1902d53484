"""Changing a tree at an exact moment of its being stored, and doing things without root's rights."""

import os
import socket
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from wings.archives.entry import Content, Entry, Item, Source
from wings.archives.report import SourceReport

NOBODY = 65534


class MeddlingWork:
    """A ``Work`` that does something at its ``at``-th check (from 1): a walk checks at every name it is given."""

    def __init__(self, at: int, action: Callable[[], object]) -> None:
        self._at = at
        self._action = action
        self.checks = 0

    def check(self) -> None:
        self.checks += 1
        if self.checks == self._at:
            self._action()

    def advance(self, bytes: int = 0, files: int = 0) -> None:
        pass


@dataclass
class Meddler:
    """Does things to a tree at exact moments of its being stored; wrap the source with ``watching``.

    ``before[path]`` runs before the entry is handed over (its file is open already), ``after_bytes[path]``
    as soon as that many bytes of it have been read. Each runs once.
    """

    before: dict[bytes, Callable[[], object]] = field(default_factory=dict)
    after_bytes: dict[bytes, tuple[int, Callable[[], object]]] = field(default_factory=dict)

    def watching(self, source: Source) -> Source:
        """The same source, with the meddler at work."""
        return _Watched(source, self)


class _Watched:
    def __init__(self, source: Source, meddler: Meddler) -> None:
        self._source = source
        self._meddler = meddler

    @property
    def report(self) -> SourceReport:
        return self._source.report

    @report.setter
    def report(self, report: SourceReport) -> None:
        self._source.report = report

    def __iter__(self) -> Iterator[Item]:
        for item in self._source:
            path = item.entry.path
            if action := self._meddler.before.pop(path, None):
                action()
            if item.content is not None and path in self._meddler.after_bytes:
                item.content = _WatchedContent(item.content, *self._meddler.after_bytes.pop(path))
            yield item

    def again(self, entry: Entry) -> Item | None:
        return self._source.again(entry)


class _WatchedContent:
    def __init__(self, content: Content, after: int, action: Callable[[], object]) -> None:
        self._content = content
        self._left = after
        self._action: Callable[[], object] | None = action

    def read(self, size: int, /) -> bytes:
        if self._action is None:
            return self._content.read(size)
        data = self._content.read(min(size, max(self._left, 1)))
        self._left -= len(data)
        if self._left <= 0:
            self._action()
            self._action = None
        return data

    def close(self) -> None:
        self._content.close()


def in_child(action: Callable[[], object]) -> None:
    """Run ``action`` in a forked child process; what it raises fails the caller as text."""
    ours, theirs = socket.socketpair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child runs Python in its only thread and ends
        child = os.fork()
    if child == 0:
        status = 1
        try:
            action()
            status = 0
        except BaseException:  # the child must end here, and the parent shows what it was
            theirs.sendall(traceback.format_exc().encode()[-60_000:])
        finally:
            os._exit(status)
    theirs.close()
    text = b"".join(iter(lambda: ours.recv(65536), b""))
    ours.close()
    _, status = os.waitpid(child, 0)
    assert status == 0, text.decode(errors="replace")


def as_nobody(action: Callable[[], object]) -> None:
    """Run ``action`` in a child process without any rights; for an ordinary user it simply runs.

    pytest's directories are closed to others: open what is needed, a ``Jail`` for example, before, and
    leave the tree itself readable (0755).
    """

    def drop_and_act() -> None:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        action()

    if os.geteuid() == 0:
        in_child(drop_and_act)
    else:
        action()
