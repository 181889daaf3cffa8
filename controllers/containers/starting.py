"""Bringing a container up, step by step; each step may find its work already done."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as dataclass_replace
from pathlib import Path

from msgspec.structs import replace

from controllers import metrics
from controllers.containers import failures, links, mounting, oci, process, specs, supervision
from controllers.containers.ending import Ender
from controllers.containers.events import event
from controllers.containers.parts import Parts
from controllers.containers.runtime import Started
from controllers.networks.service import Attachment
from store import errors
from store.crashpoints import crashpoint
from store.errors import ConflictError, EngineError, NotFoundError
from store.objects import Container
from store.objects.containers import ContainerStatus, Failure, Health
from store.store import Transaction

_log = logging.getLogger(__name__)

LINKED_TIMEOUT = 5.0


@dataclass(frozen=True)
class _Run:
    """A container that has been let go, ``started_at`` in nanoseconds since the epoch."""

    attachment: Attachment
    process: Started
    started_at: int
    warnings: tuple[str, ...]


class Starter:
    """Starts containers, and says in their status how it went."""

    def __init__(self, parts: Parts, ender: Ender) -> None:
        self._parts = parts
        self._ender = ender

    def lowers(self, container: Container) -> Sequence[Path]:
        """The layers under a container; NotFoundError when its image is gone."""
        image = self._parts.store.images.get(container.spec.image_id)
        if image is None:
            raise NotFoundError(f"No such image: {container.spec.image_id}")
        return self._parts.images.lowers(image)

    def awaits_others(self, container: Container) -> bool:
        """Whether a container that this one needs is itself about to start, say after a boot: that one comes first."""
        seen = {container.uid}
        pending = [container]
        for current in pending:
            for other in self._needed(current):
                # Two that need each other fail as they would by themselves.
                if other.uid == container.uid:
                    return False
                if other.uid not in seen and not other.running and other.start_pending:
                    seen.add(other.uid)
                    pending.append(other)
        return len(pending) > 1

    def _needed(self, container: Container) -> list[Container]:
        """Those whose namespaces it joins, and those that it is linked to."""
        host = container.spec.host
        modes = (container.network_mode, host.pid_mode, host.ipc_mode)
        names = [mode.removeprefix("container:") for mode in modes if mode.startswith("container:")]
        names += [link.partition(":")[0] for link in host.links or ()]
        return [found for name in names if (found := self._find(name)) is not None]

    async def start(self, container: Container) -> None:
        """Start; when that fails for a reason that trying again would not mend, the status says so."""
        begin = time.perf_counter()
        try:
            run = await self._bring_up(container)
        except Exception as error:
            if not isinstance(error, EngineError | OSError):
                _log.exception("starting container %s", container.uid)
            await self._ender.clean(container)
            crashpoint("container.start.failed")
            failure = error if isinstance(error, EngineError) else EngineError(str(error))
            await self._record_failure(container, failure)
            self._parts.runtime.attachments.give_up(container.uid, failure)
            return
        crashpoint("container.start.running")
        await self._record_running(container, run)
        crashpoint("container.start.recorded")
        metrics.CONTAINER_ACTIONS.labels("start").observe(time.perf_counter() - begin)

    async def _bring_up(self, container: Container) -> _Run:
        parts, uid = self._parts, container.uid
        await self._await_linked(container)
        links.check(parts.store, container)
        network = asyncio.ensure_future(parts.networks.attach(container))
        try:
            root = await self._prepare_root(container)
        except BaseException:
            await asyncio.gather(network, return_exceptions=True)
            raise
        attachment = await network
        crashpoint("container.start.prepared")
        hosts = parts.networks.hosts(container, attachment)
        resolv_conf = parts.networks.resolv_conf(container, attachment)
        built = await asyncio.to_thread(self._build, container, root, attachment, hosts, resolv_conf)
        crashpoint("container.start.described")
        parts.exits.forget(uid)
        # Known before the process runs: a daemon that dies in between finds the container connected, and keeps it so.
        noting = asyncio.ensure_future(self._note_attachment(uid, attachment))
        try:
            started = await parts.runtime.create(container, built.spec)
        finally:
            await noting
        crashpoint("container.start.created")
        begun = time.time_ns()
        await parts.runtime.start(uid)
        return _Run(attachment, started, begun, built.warnings)

    async def _await_linked(self, container: Container) -> None:
        """Give linked containers whose start is on its way, such as after the machine's, time to run first."""
        for link in container.spec.links:
            with contextlib.suppress(TimeoutError):
                await self._parts.store.wait_for(Container, link.container, _not_starting, LINKED_TIMEOUT)

    async def _note_attachment(self, uid: str, attachment: Attachment) -> None:
        def change(tx: Transaction) -> None:
            current = tx.get(Container, uid)
            if current is not None:
                tx.update(replace(current, status=_attached(current.status, attachment)))

        await self._parts.store.commit(change, durable=False)

    async def _prepare_root(self, container: Container) -> Path:
        parts = self._parts
        for point in container.spec.mounts:
            if point.type == "volume":
                await parts.volumes.mount(point.name, container.uid)
        crashpoint("container.start.volumes")
        if any(point.type == "bind" for point in container.spec.mounts):
            await asyncio.to_thread(mounting.make_bind_sources, container)
        root = await parts.roots.mount(container.uid, self.lowers(container))
        crashpoint("container.start.mounted")
        await self.populate(container, root)
        return root

    async def populate(self, container: Container, root: Path) -> None:
        """Fill the container's new volumes from its image."""
        for point in container.spec.mounts:
            if point.type == "volume" and point.copy_up:
                volume = self._parts.store.volumes.by_name(point.name)
                if volume is not None and not volume.status.populated:
                    await self._parts.volumes.populate(volume, root, point.destination)

    def _build(
        self, container: Container, root: Path, attachment: Attachment, hosts: str, resolv_conf: str
    ) -> specs.Built:
        layout = self._parts.layout
        files = mounting.write_files(layout, container, hosts, resolv_conf)
        host = container.spec.host
        shm = None
        if host.ipc_mode == "shareable":
            shm = mounting.share_memory(layout.container(container.uid) / "shm", host.shm_size)
        elif host.ipc_mode.startswith("container:"):
            shm = layout.container(self._other(host.ipc_mode).uid) / "shm"
        return specs.build(
            container,
            layout,
            root=root,
            namespaces=oci.Namespaces(
                network=attachment.namespace,
                pid=self._namespace(host.pid_mode, "pid"),
                ipc=self._namespace(host.ipc_mode, "ipc"),
            ),
            hosts=files.hosts,
            resolv_conf=files.resolv_conf,
            hostname=files.hostname,
            shm=shm,
            linked=links.variables(self._parts.store, container),
        )

    def _namespace(self, mode: str, kind: str) -> Path | None:
        if not mode.startswith("container:"):
            return None
        other = self._other(mode)
        if kind == "ipc" and other.spec.host.ipc_mode not in ("shareable", "host"):
            raise ConflictError(
                f"cannot join IPC namespace of container {other.uid}: non-shareable IPC (hint: use IpcMode:shareable "
                "for the donor container)"
            )
        return Path(f"/proc/{other.status.pid}/ns/{kind}")

    def _other(self, mode: str) -> Container:
        text = mode.removeprefix("container:")
        found = self._find(text)
        if found is None:
            raise NotFoundError(f"No such container: {text}")
        if not found.running:
            raise ConflictError(f"cannot join network of a non running container: {found.uid}")
        return found

    def _find(self, text: str) -> Container | None:
        containers = self._parts.store.containers
        found = containers.get(text) or containers.by_name(text.removeprefix("/"))
        return found or next(iter(containers.by_prefix(text) if text else ()), None)

    async def _record_failure(self, container: Container, error: EngineError) -> None:
        kind = next(cls.__name__ for cls in type(error).__mro__ if getattr(errors, cls.__name__, None) is cls)

        def change(tx: Transaction) -> None:
            current = tx.get(Container, container.uid)
            if current is None:
                return
            status = current.status
            failed = replace(
                status,
                phase="exited" if status.phase == "restarting" else status.phase,
                next_restart_at=0,
                observed_generation=max(status.observed_generation, container.meta.generation),
                starts=container.spec.starts,
                exit_code=failures.exit_code(error),
                error=error.message,
                failure=Failure(generation=container.meta.generation, kind=kind, message=error.message),
                endpoints={},
                joined=status.joined_last(),
                ports=(),
            )
            deletion = current.meta.deletion_requested_at
            if current.spec.host.auto_remove and deletion is None:
                deletion = time.time_ns()
                current = current.edited(spec=replace(current.spec, remove_volumes=True))
            tx.update(replace(current, status=failed).with_meta(deletion_requested_at=deletion))

        await self._parts.store.commit(change)

    async def adopt(self, container: Container) -> None:
        """Record a container as running that was started just before the daemon died.

        If it has ended since, the next look at it records that: its process is not there.
        """
        uid = container.uid
        started = self._parts.runtime.find(uid) or Started(0, 0, 0)
        if started.pid:
            started = dataclass_replace(started, conmon_pid=supervision.monitor_of(started.pid, uid))
        status = container.status
        attachment = Attachment(None, status.endpoints, status.ports, status.sandbox_id)
        identity = self._parts.layout.bundle(uid) / "identity"
        begun = identity.stat().st_mtime_ns if identity.exists() else time.time_ns()
        await self._record_running(container, _Run(attachment, started, begun, ()))

    async def _record_running(self, container: Container, run: _Run) -> None:
        """Say in the status that it runs."""
        policy_restart = container.status.phase == "restarting" and container.spec.starts == container.status.starts
        check = container.spec.config.healthcheck
        checked = check is not None and bool(check.test) and check.test != ["NONE"]

        def change(tx: Transaction) -> None:
            current = tx.get(Container, container.uid)
            if current is None:
                return
            status = ContainerStatus(
                observed_generation=max(current.status.observed_generation, container.meta.generation),
                phase="running",
                starts=container.spec.starts,
                pid=run.process.pid,
                pid_start_time=run.process.pid_start_time,
                conmon_pid=run.process.conmon_pid,
                boot_id=process.boot_id(),
                started_at=run.started_at,
                finished_at=current.status.finished_at,
                restart_count=current.status.restart_count if policy_restart else 0,
                restart_delay=current.status.restart_delay if policy_restart else 0.0,
                health=Health() if checked else None,
                endpoints=run.attachment.endpoints,
                ports=run.attachment.ports,
                sandbox_id=run.attachment.sandbox_id,
                warnings=run.warnings,
            )
            tx.update(replace(current, status=status))
            tx.emit(event(current, "start"))
            if current.spec.stop is not None and current.spec.wanted == "running" and not policy_restart:
                tx.emit(event(current, "restart"))

        # The answer says that it runs, and that it ran decides what becomes of it after the machine's death.
        await self._parts.store.commit(change, durable=not container.spec.host.auto_remove)


def _not_starting(container: Container | None) -> bool:
    if container is None or container.running or container.spec.wanted != "running":
        return True
    return not container.start_pending and container.status.phase != "restarting"


def _attached(status: ContainerStatus, attachment: Attachment) -> ContainerStatus:
    return replace(status, endpoints=attachment.endpoints, ports=attachment.ports, sandbox_id=attachment.sandbox_id)
