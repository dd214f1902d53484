"""The one way to run a program: nothing inherited that is not needed, nothing left behind, nothing hangs.

argv is a list and never a shell's line. The environment is minimal (P10). Secrets go in as unnamed files
in memory. Both outputs are drained at all times (W-33). The program leads a process group of its own,
which is ended with it. How it ended is in the result, for the caller to judge.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from wings.archives.work import Unwatched, Work
from wings.errors import Cancelled, Refused, Unsupported, WingsError, shown

CHUNK = 256 << 10  # bytes read from an output at once
BUFFER = 1 << 20  # bytes of output held for a slow reader before the program has to wait
ERROR_TAIL = 16 << 10  # bytes kept of what it wrote to stderr
SHOWN_LINES = 5  # of those in a message
LONGEST_LINE = 300  # characters of one of them, from its end
LARGEST_OUTPUT = 16 << 20  # bytes collected by ``run`` unless told otherwise
LOOK_EVERY = 0.2  # seconds between two looks whether the work was cancelled
TERM_PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL
KILL_PATIENCE = 5.0  # seconds after SIGKILL: a program stuck in the kernel is left behind then
ORPHAN_PATIENCE = 1.0  # seconds an output may stay open and silent after the program has ended


class TooMuchOutput(WingsError):
    """A program wrote more than its caller was ready to hold in memory."""

    code = "too_much_output"


@dataclass(frozen=True, slots=True)
class SecretFile:
    """An argument or a variable that is the path of a file with this content, which only the child can open.

    ``before`` is put in front of the path, as in ``--password-file=``.
    """

    content: bytes
    before: str = ""

    def __repr__(self) -> str:
        return f"SecretFile({len(self.content)} bytes)"


Argument = str | bytes | SecretFile


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """How a program ended. ``code`` is its exit code, or minus the number of the signal that killed it.

    ``output`` is what ``run`` collected, ``errors`` the end of what it wrote to stderr.
    """

    program: str
    code: int
    output: bytes
    errors: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Exit code 0."""
        return self.code == 0

    def __str__(self) -> str:
        how = f"was killed by {_signal_name(-self.code)}" if self.code < 0 else f"ended with exit code {self.code}"
        lines = [shown(line[-LONGEST_LINE:]) for line in self.errors.strip().splitlines()[-SHOWN_LINES:]]
        return f"{self.program} {how}{': ' if lines else ''}{' / '.join(lines)}"


class ProcessRunner:
    """Starts programs. ``path`` is where they are looked for, the daemon's own ``PATH`` by default."""

    def __init__(self, path: str | None = None, term_patience: float = TERM_PATIENCE) -> None:
        self._path = path or os.environ.get("PATH") or os.defpath
        self._term_patience = term_patience

    async def run(
        self,
        argv: Sequence[Argument],
        *,
        environment: Mapping[str, str | SecretFile] | None = None,
        directory: str | None = None,
        input: bytes | int | None = None,
        largest_output: int = LARGEST_OUTPUT,
        work: Work | None = None,
    ) -> ProcessResult:
        """Run to the end and collect what it writes to stdout. Raises as ``start`` does, and ``TooMuchOutput``."""
        output = bytearray()
        async with self.start(argv, environment=environment, directory=directory, input=input, work=work) as process:
            async for chunk in process.output():
                output += chunk
                if len(output) > largest_output:
                    raise TooMuchOutput(f"{process.program} wrote more than {largest_output} bytes and was ended")
            return await process.result(bytes(output))

    @asynccontextmanager
    async def start(
        self,
        argv: Sequence[Argument],
        *,
        environment: Mapping[str, str | SecretFile] | None = None,
        directory: str | None = None,
        input: bytes | int | None = None,
        work: Work | None = None,
    ) -> AsyncIterator["RunningProcess"]:
        """Start a program; when the block is left, by whatever way, it and its group are gone.

        ``environment`` is added to ``PATH`` and a UTF-8 locale, which is all it gets. ``input`` is the text
        or the descriptor it reads as stdin, nothing by default. When ``work`` is cancelled the program is
        ended and ``Cancelled`` raised. Raises ``Unsupported`` when there is no such program, ``Refused``
        when it may not be run.
        """
        begun = time.monotonic()
        async with contextlib.AsyncExitStack() as stack:
            descriptors: list[int] = []
            arguments = [_argument(one, descriptors, stack) for one in argv]
            variables = {"PATH": self._path, "LC_ALL": "C.UTF-8"} | {
                name: _variable(value, descriptors, stack) for name, value in (environment or {}).items()
            }
            if isinstance(input, bytes):
                source = _memory_file(input, stack)
            else:
                source = asyncio.subprocess.DEVNULL if input is None else input
            program = shown(os.path.basename(os.fsencode(arguments[0])))
            output = await _ReadEnd.open(stack)
            errors = await _ReadEnd.open(stack)
            try:
                child = await asyncio.create_subprocess_exec(
                    *arguments,
                    stdin=source,
                    stdout=output.write_end,
                    stderr=errors.write_end,
                    env=variables,
                    cwd=directory,
                    pass_fds=descriptors,
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                raise _not_found(program, error, directory) from error
            except PermissionError as error:
                raise Refused(f"no permission to run {program}; check its mode and that of its directory") from error
            except OSError as error:
                raise Unsupported(f"{program} cannot be run: {error.strerror}") from error
            output.started()
            errors.started()
            process = RunningProcess(
                program=program,
                child=child,
                output=output,
                errors=errors,
                work=work or Unwatched(),
                term_patience=self._term_patience,
                begun=begun,
            )
            stack.push_async_callback(process.end)
            yield process


class RunningProcess:
    """A started program. Read ``output`` to its end, then ask for the ``result``."""

    def __init__(
        self,
        *,
        program: str,
        child: asyncio.subprocess.Process,
        output: "_ReadEnd",
        errors: "_ReadEnd",
        work: Work,
        term_patience: float,
        begun: float,
    ) -> None:
        self.program = program
        self._child = child
        self._output = output
        self._errors = errors
        self._work = work
        self._term_patience = term_patience
        self._begun = begun
        self._cancelled: Cancelled | None = None
        self._tail = bytearray()
        self._exited = asyncio.create_task(self._wait())
        self._draining = asyncio.create_task(self._drain_errors())
        self._watching = asyncio.create_task(self._watch())

    @property
    def pid(self) -> int:
        """Its process id, which is also that of its group."""
        return self._child.pid

    async def output(self) -> AsyncIterator[bytes]:
        """What it writes to stdout, as it comes. That it ends says nothing: the ``result`` does."""
        while chunk := await self._read(self._output):
            yield chunk
        if self._cancelled is not None:
            raise self._cancelled

    async def result(self, output: bytes = b"") -> ProcessResult:
        """Wait for its end, dropping output that nobody read. Raises ``Cancelled`` when it was ended for that."""
        async for _ in self.output():
            pass
        await asyncio.wait({self._exited, self._draining})  # awaiting a task itself would pass a cancellation on to it
        if self._cancelled is not None:
            raise self._cancelled
        return ProcessResult(
            program=self.program,
            code=self._exited.result(),
            output=output,
            errors=self._tail.decode("utf-8", "replace"),
            seconds=time.monotonic() - self._begun,
        )

    async def end(self) -> None:
        """Make sure that it and its group are gone: SIGTERM, then SIGKILL. Safe to call at any time."""
        ending = asyncio.create_task(self._end())
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            self._kill(signal.SIGKILL)  # no more patience: whoever waits for us is in a hurry
            await ending
            raise

    async def _end(self) -> None:
        self._watching.cancel()
        if not self._exited.done():
            self._kill(signal.SIGTERM)
            await asyncio.wait({self._exited}, timeout=self._term_patience)
        if not self._exited.done() or not (self._output.at_end and self._errors.at_end):
            # Either it does not listen, or somebody of its group still holds an output open.
            self._kill(signal.SIGKILL)
        await asyncio.wait({self._exited}, timeout=KILL_PATIENCE)
        for task in (self._exited, self._draining, self._watching):
            task.cancel()
        await asyncio.gather(self._exited, self._draining, self._watching, return_exceptions=True)

    async def _wait(self) -> int:
        return await self._child.wait()

    async def _drain_errors(self) -> None:
        while chunk := await self._read(self._errors):
            self._tail += chunk
            del self._tail[:-ERROR_TAIL]

    async def _read(self, pipe: "_ReadEnd") -> bytes:
        """The next bytes; ``b""`` at the end, or when the program is gone and those who hold the pipe are silent."""
        while not pipe.orphaned:
            ended = self._exited.done()
            try:
                async with asyncio.timeout(ORPHAN_PATIENCE):
                    return await pipe.reader.read(CHUNK)
            except TimeoutError:
                pipe.orphaned = ended
        return b""

    async def _watch(self) -> None:
        while not self._exited.done():
            await asyncio.sleep(LOOK_EVERY)
            try:
                self._work.check()
            except Cancelled as error:
                self._cancelled = error
                self._kill(signal.SIGTERM)
                await asyncio.wait({self._exited}, timeout=self._term_patience)
                if not self._exited.done():
                    self._kill(signal.SIGKILL)
                return

    def _kill(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)


class _ReadEnd:
    """Our end of a pipe that a child writes into, closed with the stack even if others keep theirs open."""

    def __init__(self, reader: asyncio.StreamReader, write_end: int, stack: contextlib.AsyncExitStack) -> None:
        self.reader = reader
        self.write_end = write_end
        self.orphaned = False  # the program has ended, and whoever still holds the other end is silent
        self._open = True
        stack.callback(self.started)

    @classmethod
    async def open(cls, stack: contextlib.AsyncExitStack) -> "_ReadEnd":
        read_end, write_end = os.pipe()
        reader = asyncio.StreamReader(limit=BUFFER)
        pipe = cls(reader, write_end, stack)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
        )
        stack.callback(transport.close)
        return pipe

    @property
    def at_end(self) -> bool:
        return self.reader.at_eof()

    def started(self) -> None:
        """The child has its copy of the write end; ours would keep the pipe open."""
        if self._open:
            self._open = False
            os.close(self.write_end)


def _argument(one: Argument, descriptors: list[int], stack: contextlib.AsyncExitStack) -> str | bytes:
    return _variable(one, descriptors, stack) if isinstance(one, SecretFile) else one


def _variable(value: str | SecretFile, descriptors: list[int], stack: contextlib.AsyncExitStack) -> str:
    if isinstance(value, str):
        return value
    descriptor = _memory_file(value.content, stack)
    descriptors.append(descriptor)
    return f"{value.before}/dev/fd/{descriptor}"


def _memory_file(content: bytes, stack: contextlib.AsyncExitStack) -> int:
    """A file without a name, in memory only, positioned at its start."""
    descriptor = os.memfd_create("input", os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    written = 0
    while written < len(content):
        written += os.pwrite(descriptor, content[written:], written)
    return descriptor


def _not_found(program: str, error: FileNotFoundError, directory: str | None) -> WingsError:
    if directory is not None and error.filename == directory:
        return Unsupported(f"{program} cannot be run in {shown(directory)}: there is no such directory")
    return Unsupported(f"the program '{program}' is not installed; install it, or see that it is on the PATH")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
