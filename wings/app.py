"""The composition root: builds every part once, starts them in order, stops them in reverse.

Nothing else in the program makes its own collaborators. The order is that of cli-and-host §5.1 as far as
the parts exist; a part that fails to start stops those before it and ends the program with one message.
"""

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from enum import StrEnum

import structlog

from wings.api.application import build_application
from wings.api.listener import Listener
from wings.api.services import Services
from wings.backups.registry import Registry, Surroundings, build_drivers
from wings.backups.service import BackupPolicy, BackupService
from wings.backups.wrappers.logged import LoggedDriver
from wings.config.load import LoadedConfig
from wings.config.paths import ResolvedPaths, create_directories
from wings.config.validate import Mode, mode_of, validate
from wings.errors import ConfigurationError, WingsError
from wings.files.wayback import WayBack
from wings.host.lock import InstanceLock
from wings.host.systemd import Notifier
from wings.host.threads import Pool, Pools
from wings.jobs.events import EventBus
from wings.jobs.limits import TokenBucket
from wings.jobs.manager import JobManager
from wings.servers.directory import ServerDirectory
from wings.store.backups import Catalogue
from wings.store.database import Database
from wings.store.jobs import JobStore
from wings.store.servers import ServerStore
from wings.telemetry.logging import LogSetup, configure_logging
from wings.telemetry.loopwatch import LoopWatch
from wings.telemetry.metrics import Metrics
from wings.telemetry.redaction import Secrets
from wings.version import VERSION

IDLE_LOOK = 30.0  # seconds between two looks for idle browse trees


class Phase(StrEnum):
    """Where the daemon is in its life, as ``GET /api/health`` tells it."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


class Daemon:
    """One running daemon. ``run`` returns when a signal or ``stop`` asked for the end."""

    def __init__(self, loaded: LoadedConfig) -> None:
        self._loaded = loaded
        self._end = asyncio.Event()
        self.phase = Phase.STARTING
        self._log = structlog.stdlib.get_logger("wings.app")

    def stop(self) -> None:
        """Ask for the end; from the event loop's thread."""
        self._end.set()

    async def run(self) -> None:
        """Start, serve until asked to stop, stop within ``wings.shutdown_timeout``."""
        notifier = Notifier.from_environment()
        async with self._parts():
            # What the start has made lives as long as the daemon: full collections, which stop the event
            # loop, need not look at it again.
            gc.collect()
            gc.freeze()
            self.phase = Phase.READY
            notifier.ready(f"wings {VERSION} is ready")
            alive = asyncio.create_task(notifier.keep_alive())
            self._log.info("ready", version=VERSION)
            await self._end.wait()
            self.phase = Phase.STOPPING
            notifier.stopping()
            self._log.info("stopping")
            await _cancel(alive)
        self._log.info("stopped")

    @asynccontextmanager
    async def _parts(self) -> AsyncIterator[None]:
        config = self._loaded.config
        paths = ResolvedPaths.of(config)
        async with AsyncExitStack() as stack:
            pools = stack.enter_context(
                Pools(archive=config.wings.backups.parallel_creates + config.wings.backups.parallel_restores + 2)
            )
            database = await Database.open(paths.root / "wings.db")
            stack.push_async_callback(database.close)
            if database.replaced is not None:
                self._log.error(
                    "the store was damaged and has been set aside; backups are found again from their storages, "
                    "servers of local mode have to be added again",
                    kept_as=str(database.replaced),
                )
            metrics = Metrics()
            events = EventBus()
            jobs = JobManager(
                JobStore(database),
                events,
                parallel_creates=config.wings.backups.parallel_creates,
                parallel_restores=config.wings.backups.parallel_restores,
                keep=timedelta(days=config.wings.jobs.keep_days),
                metrics=metrics,
            )
            directory = ServerDirectory(ServerStore(database), pools, reserved=[paths.root, paths.backup])
            await self._recover_restores(directory, pools)

            limits = config.system.backups
            registry = Registry(
                [
                    LoggedDriver(driver)
                    for driver in build_drivers(
                        Surroundings(
                            config=config,
                            backups=paths.backup,
                            state=paths.root,
                            pools=pools,
                            write_limit=TokenBucket(limits.write_limit.bytes_per_second or None),
                            read_limit=TokenBucket(limits.read_limit.bytes_per_second or None),
                        )
                    )
                ]
            )
            backups = BackupService(
                registry,
                Catalogue(database),
                jobs,
                directory,
                pools,
                metrics,
                BackupPolicy(
                    default_adapter=config.wings.backups.default_adapter,
                    restore_mode=config.wings.backups.restore_mode,
                    skip_unreadable_files=config.wings.backups.unreadable_files == "skip",
                    reserve=config.wings.backups.reserve_space.bytes,
                    owner=_owner(self._loaded),
                ),
            )
            await jobs.start()
            stack.push_async_callback(jobs.stop, config.wings.shutdown_timeout)
            await backups.start()
            stack.push_async_callback(backups.close)
            stack.push_async_callback(_cancel, asyncio.create_task(_close_idle(backups)))
            stack.push_async_callback(_cancel, asyncio.create_task(LoopWatch(metrics.loop_lag).run()))

            services = Services(
                directory=directory,
                backups=backups,
                jobs=jobs,
                events=events,
                metrics=metrics if config.wings.metrics.enabled else None,
                phase=lambda: self.phase,
                token=config.token.get_secret_value(),
                version=VERSION,
                documentation=not config.api.disable_openapi_docs,
            )
            listener = Listener(build_application(services), config.api.host, config.api.port)
            await listener.start()
            stack.push_async_callback(listener.stop)
            yield

    async def _recover_restores(self, directory: ServerDirectory, pools: Pools) -> None:
        for server in await directory.list():
            for recovered in await pools.run(Pool.FILES, WayBack.recover, server.path):
                self._log.warning("an interrupted restore was settled", server=str(server.uuid), how=str(recovered))


def run(loaded: LoadedConfig, *, debug: bool = False) -> int:
    """Run the daemon in the foreground until SIGTERM or SIGINT; the exit code of the program.

    Raises ``WingsError`` for what keeps it from starting, before anything was logged.
    """
    config = loaded.config
    mode = mode_of(config)
    warnings = [*loaded.warnings, *validate(config, mode, os.environ, str(loaded.path))]
    if mode is Mode.PANEL:
        raise ConfigurationError(
            f"{loaded.path} names a panel (remote), which this version cannot serve yet; "
            "empty 'remote' to run without one, or try it with --root DIR"
        )
    if config.api.ssl.enabled:
        raise ConfigurationError(
            f"{loaded.path} asks for HTTPS (api.ssl.enabled), which this version cannot serve yet; "
            "set it to false and let a reverse proxy do it, or use a Unix socket (api.host)"
        )
    secrets = Secrets()
    secrets.register(config.token.get_secret_value())
    paths = ResolvedPaths.of(config)
    create_directories(paths)
    # Before the log, so that the refused second daemon does not write into the first one's file.
    lock = InstanceLock.acquire(paths.root / "wings.lock")
    try:
        with configure_logging(paths.log, secrets, debug=debug or config.debug) as log_setup:
            log = structlog.stdlib.get_logger("wings.app")
            log.info("configuration loaded", path=str(loaded.path), version=VERSION)
            for warning in warnings:
                log.warning(warning)
            try:
                with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                    runner.run(_serve(loaded, log_setup))
            except WingsError as error:
                log.error(str(error), code=error.code)
                return error.exit_code
    finally:
        lock.release()
    return 0


async def _serve(loaded: LoadedConfig, log_setup: LogSetup) -> None:
    daemon = Daemon(loaded)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop)
    # Hosts that once ran another daemon have a logrotate rule that sends HUP (cli-and-host §5.7).
    loop.add_signal_handler(signal.SIGHUP, log_setup.reopen)
    await daemon.run()


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop  # noqa: PLC0415  # optional extra: taken when installed, never required
    except ImportError:
        return None
    return uvloop.Loop


def _owner(loaded: LoadedConfig) -> tuple[int, int] | None:
    user = loaded.config.system.user
    return (user.uid, user.gid) if os.geteuid() == 0 and user.uid else None


async def _close_idle(backups: BackupService) -> None:
    while True:
        await asyncio.sleep(IDLE_LOOK)
        backups.close_idle_trees()


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
