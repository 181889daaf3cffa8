"""Health checks: a command run inside a container now and then, and what its exit codes make of the container's health.

The rules are dockerd's (API: HealthConfig).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from msgspec.structs import replace

from controllers import metrics
from controllers.containers.events import event
from controllers.containers.execs import Exec, ExecConfig, ExecRegistry
from store.errors import EngineError
from store.objects import Container
from store.objects.containers import ContainerConfig, Health, HealthConfig, HealthResult
from store.store import Change, Store, Transaction

_log = logging.getLogger(__name__)

SECOND = 1_000_000_000
DEFAULT_INTERVAL = DEFAULT_TIMEOUT = 30 * SECOND
DEFAULT_RETRIES = 3
RESULTS_KEPT = 5
OUTPUT_KEPT = 4096
TIMED_OUT = -1
DEFAULT_SHELL = ("/bin/sh", "-c")


def command(config: ContainerConfig) -> tuple[str, ...]:
    """The command of a container's check; empty for none."""
    test = (config.healthcheck.test if config.healthcheck else None) or ["NONE"]
    match test[0]:
        case "CMD":
            return tuple(test[1:])
        case "CMD-SHELL":
            return (*(config.shell or DEFAULT_SHELL), *test[1:2])
    return ()


def judged(health: Health, result: HealthResult, check: HealthConfig, *, since_start: int) -> Health:
    """The health after one more result, that of a check begun ``since_start`` nanoseconds after the container."""
    log = [*health.log, result][-RESULTS_KEPT:]
    if result.exit_code == 0:
        return Health(status="healthy", failing_streak=0, log=log)
    if health.status == "starting" and since_start < check.start_period:
        return replace(health, log=log)
    streak = health.failing_streak + 1
    status = "unhealthy" if streak >= (check.retries or DEFAULT_RETRIES) else health.status
    return Health(status=status, failing_streak=streak, log=log)


class HealthMonitor:
    """One task for each running container that has a check."""

    def __init__(self, store: Store, execs: ExecRegistry) -> None:
        self._store = store
        self._execs = execs
        self._tasks: dict[str, tuple[int, asyncio.Task[None]]] = {}
        self._unwatch: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin with what runs."""
        self._unwatch = self._store.on_change(Container, self._changed)
        for container in self._store.containers:
            self._follow(container)

    async def stop(self) -> None:
        """No more checks."""
        self._unwatch()
        tasks = [task for _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    def _changed(self, change: Change[Container]) -> None:
        if change.after is None:
            self._end(change.uid)
        else:
            self._follow(change.after)

    def _follow(self, container: Container) -> None:
        wanted = container.running and container.status.health is not None and command(container.spec.config)
        known = self._tasks.get(container.uid)
        if known is not None and (not wanted or known[0] != container.status.started_at):
            self._end(container.uid)
            known = None
        if wanted and known is None:
            task = asyncio.create_task(self._check_for_ever(container.uid), name=f"health {container.uid}")
            self._tasks[container.uid] = (container.status.started_at, task)

    def _end(self, uid: str) -> None:
        known = self._tasks.pop(uid, None)
        if known is not None:
            known[1].cancel()

    async def _check_for_ever(self, uid: str) -> None:
        while (container := self._store.containers.get(uid)) is not None:
            check = container.spec.config.healthcheck
            if check is None:
                return
            await asyncio.sleep((check.interval or DEFAULT_INTERVAL) / SECOND)
            container = self._store.containers.get(uid)
            if container is None or not container.running:
                return
            if container.status.phase == "paused":
                continue
            try:
                await self._check(container, check)
            except Exception:
                _log.exception("the health check of container %s", uid)

    async def _check(self, container: Container, check: HealthConfig) -> None:
        begin = time.time_ns()
        metrics.HEALTH_CHECKS.inc()
        code, output = await self._probe(container, check)
        if code:
            metrics.HEALTH_CHECKS_FAILED.inc()
        result = HealthResult(start=_text(begin), end=_text(time.time_ns()), exit_code=code, output=output)
        await self._store.commit(partial(_record, container, check, result, begin), durable=False)

    async def _probe(self, container: Container, check: HealthConfig) -> tuple[int, str]:
        limit = (check.timeout or DEFAULT_TIMEOUT) / SECOND
        config = ExecConfig(command=command(container.spec.config), attach_stdout=True, attach_stderr=True)
        output = bytearray()
        found = None
        try:
            found = self._execs.create(container, config)
            await self._tell(container, found)
            async with asyncio.timeout(limit):
                await self._run(container, found, output)
        except TimeoutError:
            if found is not None:
                _kill(found)
            return TIMED_OUT, f"Health check exceeded timeout ({_duration(limit)})"
        except EngineError as error:
            return TIMED_OUT, str(error)
        text = output[:OUTPUT_KEPT].decode("utf-8", "replace") + ("..." if len(output) > OUTPUT_KEPT else "")
        return TIMED_OUT if found.exit_code is None else found.exit_code, text

    async def _run(self, container: Container, found: Exec, output: bytearray) -> None:
        self._execs.claim(found)
        streams = await self._execs.start(found, container, stdin=False, output=True)
        while pieces := await streams.read():
            for _, data in pieces:
                if len(output) <= OUTPUT_KEPT:
                    output += data
        await found.ended.wait()

    async def _tell(self, container: Container, found: Exec) -> None:
        def change(tx: Transaction) -> None:
            for action in ("exec_create", "exec_start"):
                tx.emit(event(container, f"{action}: {found.config.words}", execID=found.uid))

        await self._store.commit(change, durable=False)


def _record(container: Container, check: HealthConfig, result: HealthResult, begin: int, tx: Transaction) -> None:
    current = tx.get(Container, container.uid)
    if current is None or not current.running or current.status.started_at != container.status.started_at:
        return
    before = current.status.health or Health()
    health = judged(before, result, check, since_start=begin - current.status.started_at)
    tx.update(replace(current, status=replace(current.status, health=health)))
    if health.status != before.status:
        tx.emit(event(current, f"health_status: {health.status}"))


def _kill(found: Exec) -> None:
    if found.running and found.pid > 0:
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGKILL)


def _text(ns: int) -> str:
    seconds, fraction = divmod(ns, SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def _duration(seconds: float) -> str:
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"
