"""The daemon's life: check, lock, assemble, adopt, listen, serve, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from apiserver import greeting
from apiserver.config import ConfigError, Settings
from apiserver.dataroot import DataRootLock, PidFile
from apiserver.logs import set_level
from apiserver.preflight import problems
from apiserver.server import Server
from apiserver.systemd import machine_stops, notify

if TYPE_CHECKING:
    from apiserver.composition import Engine
    from apiserver.exposition import MetricsServer

log = logging.getLogger("wharfinger")

OPEN_FILES = 65536


def serve(settings: Settings, reload: Callable[[], Settings]) -> None:
    """Runs the daemon until SIGTERM or SIGINT. ``reload`` reads the settings again for SIGHUP.

    Raises ConfigError, in a line for people, for what stops it from starting; by then nothing has been changed.
    """
    import uvloop

    for problem in problems(settings):
        raise ConfigError(problem)
    _raise_open_files()
    with DataRootLock(settings.data_root), PidFile(settings.pidfile):
        uvloop.run(_Daemon(settings, reload).run())


def _raise_open_files() -> None:
    """Each client, stream and container costs descriptors, and a shell's usual 1,024 are gone with 300 containers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Daemon:
    def __init__(self, settings: Settings, reload: Callable[[], Settings]) -> None:
        self._settings = settings
        self._reload = reload
        self._stop = asyncio.Event()
        self._server = Server(settings)
        self._metrics: MetricsServer | None = None
        self._engine: Engine | None = None
        self._reloads: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        from apiserver import documentation
        from apiserver.composition import assemble
        from apiserver.routes.table import all_routes
        from store.database import DatabaseError
        from store.errors import EngineError

        begun = time.monotonic()
        last = False
        self._handle_signals()
        try:
            self._engine = engine = await assemble(self._settings)
        except DatabaseError as error:
            raise ConfigError(str(error)) from None
        try:
            try:
                await engine.start()
            except EngineError as error:
                raise ConfigError(str(error)) from None
            routes = all_routes(engine)
            self._server.configure([*routes, *documentation.routes(routes)])
            self._server.listen()
            await self._server.start()
            await self._start_metrics()
            gc.freeze()
            gc.enable()
            self._ready(time.monotonic() - begun)
            await self._stop.wait()
            notify("STOPPING=1")
            last = await machine_stops()
            log.info("stopping; containers %s", "end with the machine" if last else "stay as they are")
        finally:
            await self._server.shutdown()
            for task in self._reloads:
                task.cancel()
            if self._metrics is not None:
                await self._metrics.stop()
            await engine.stop(machine_stops=last)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)

    async def _start_metrics(self) -> None:
        if not self._settings.metrics_address:
            return
        from apiserver.exposition import MetricsServer

        self._metrics = MetricsServer(self._settings.metrics_address)
        await self._metrics.start()

    def _ready(self, seconds: float) -> None:
        endpoints = [str(listener.endpoint) for listener in self._server.listeners]
        addresses = ", ".join(endpoints)
        notify("READY=1", f"STATUS=Listening on {addresses}")
        log.info("ready after %.2f s on %s", seconds, addresses)
        if scripts := os.environ.get(greeting.VARIABLE):
            print(greeting.greeting(endpoints, scripts), flush=True)

    def _hung_up(self) -> None:
        task = asyncio.ensure_future(self._reload_settings())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload_settings(self) -> None:
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            settings = self._reload()
            self._server.reload_certificates()
        except ConfigError as error:
            log.error("settings stay as they are: %s", error)
        else:
            set_level(settings.log_level)
            if self._engine is not None:
                await self._engine.reload(settings)
            log.info("settings read again: log level, certificates, registries and labels are as they say now")
        with contextlib.suppress(OSError):
            notify("READY=1")
