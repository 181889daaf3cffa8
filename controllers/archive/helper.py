"""The daemon's side of the helper processes: containers' trees are read and written by confined children only."""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from controllers.archive.pipes import feed, read_chunks, wide_pipe
from store import errors
from store.errors import EngineError

STREAM_TIMEOUT = 6 * 3600.0
LOOK_TIMEOUT = 120.0
KILL_TIMEOUT = 10.0
CONTROL_DESCRIPTOR = 3
PROJECT_ROOT = Path(__file__).resolve().parents[2]
BOOT = "import sys;sys.path.insert(0,sys.argv[1]);from controllers.archive.zygote import serve;serve(int(sys.argv[2]))"

Whiteouts = Literal["keep-out", "overlay"]
Mounts = Sequence[tuple[Path, str]]


@dataclass(frozen=True)
class Unpacked:
    """An unpacked tar: bytes of file content, the stream's own length and its digest (``sha256:…``)."""

    size_bytes: int
    entries: int
    stream_bytes: int
    diff_id: str


@dataclass(frozen=True)
class PathStat:
    """One path of a tree. ``mode`` is Go's ``os.FileMode``, ``mtime`` nanoseconds; ``path`` has its parent resolved."""

    name: str
    size: int
    mode: int
    mtime: int
    link_target: str
    path: str

    @property
    def is_directory(self) -> bool:
        """Whether the path itself is a directory."""
        return bool(self.mode & 1 << 31)

    @property
    def is_link(self) -> bool:
        """Whether the path itself is a symbolic link."""
        return bool(self.mode & 1 << 27)


@dataclass(frozen=True)
class Change:
    """One line of ``docker diff``: kind 0 modified, 1 added, 2 deleted."""

    path: str
    kind: int


class Archiver:
    """Runs jobs in confined children, which one small helper process forks.

    Every job ends when its caller is cancelled, its time is up, or the daemon dies. ``mounts`` of a job are (host path,
    path in the tree): laid there for the job alone. Paths in a tree are resolved by the kernel inside the tree.
    """

    def __init__(self) -> None:
        self._control: socket.socket | None = None
        self._pid = 0

    async def start(self) -> None:
        """Start the helper process. It is started anew if it ever dies."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            # posix_spawn takes half a millisecond, and uvloop's own way of spawning would hold the loop for longer.
            self._pid = os.posix_spawn(  # noqa: ASYNC221
                sys.executable,
                [sys.executable, "-I", "-S", "-X", "utf8", "-c", BOOT, str(PROJECT_ROOT), str(CONTROL_DESCRIPTOR)],
                {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), CONTROL_DESCRIPTOR)],
                setsid=True,
            )
        self._control = ours

    async def close(self) -> None:
        """End the helper; jobs still running go on until their callers let go."""
        if self._control is not None:
            self._control.close()
            self._control = None
            with contextlib.suppress(ChildProcessError):
                await asyncio.to_thread(os.waitpid, self._pid, 0)

    async def unpack(
        self,
        root: Path,
        source: int,
        *,
        path: str = "/",
        whiteouts: Whiteouts | None = None,
        record: Path | None = None,
        digest: bool = True,
        no_overwrite_dir_non_dir: bool = False,
        owner: tuple[int, int] | None = None,
        own_destination: bool = False,
        mounts: Mounts = (),
        timeout: float = STREAM_TIMEOUT,
    ) -> Unpacked:
        """Unpack an uncompressed tar from the descriptor ``source`` (read to its end, not closed) under ``root/path``.

        ``record`` names a file to write what ``assemble`` needs. ``own_destination`` lets the tar's ``.`` change the
        destination's own attributes. Other options as ``extract.Rules`` has them.

        Raises:
            InvalidParameterError: the tar is broken, or names something outside of the destination.
            EngineError: the file system refused (full, read-only …).
        """
        request = {
            "job": "unpack",
            "root": str(root),
            "path": path,
            "whiteouts": whiteouts,
            "digest": digest,
            "no_overwrite_dir_non_dir": no_overwrite_dir_non_dir,
            "owner": owner,
            "own_destination": own_destination,
            "mounts": _mounts(mounts),
        }
        if record is None:
            answer = await self._run(request, [source], timeout)
        else:
            descriptor = os.open(record, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                answer = await self._run(request, [source, descriptor], timeout)
            finally:
                os.close(descriptor)
        return Unpacked(**answer)

    async def unpack_from(self, root: Path, chunks: AsyncIterator[bytes], **options: Any) -> Unpacked:
        """``unpack`` from an asynchronous iterator; an error of the iterator ends the job and is raised."""
        reader, writer = wide_pipe()
        feeding = asyncio.ensure_future(feed(chunks, writer))
        try:
            unpacking = asyncio.ensure_future(self.unpack(root, reader, **options))
            try:
                await asyncio.wait({feeding, unpacking}, return_when=asyncio.FIRST_COMPLETED)
                if feeding.done() and not feeding.cancelled() and (failure := feeding.exception()) is not None:
                    raise failure
                return await unpacking
            finally:
                await _end(unpacking)
        finally:
            await _end(feeding)
            os.close(reader)

    async def pack(
        self,
        root: Path,
        path: str,
        sink: int,
        *,
        content_only: bool = False,
        mounts: Mounts = (),
        timeout: float = STREAM_TIMEOUT,
    ) -> None:
        """Write a tar of ``root/path`` to the descriptor ``sink`` (not closed).

        Members are named as ``docker cp`` wants them: after the path's last part (``/`` for the root, ``./`` for
        ``path/.``). With ``content_only`` what is under the path is packed without such a top (``docker export``).

        Raises:
            NotFoundError: no such path.
        """
        request: dict[str, Any] = {"job": "pack", "root": str(root), "path": path, "content_only": content_only}
        request["mounts"] = _mounts(mounts)
        await self._run(request, [sink], timeout)

    async def pack_chunks(self, root: Path, path: str, **options: Any) -> AsyncIterator[bytes]:
        """``pack`` as an asynchronous iterator. A failure is raised where the stream ends."""
        reader, writer = wide_pipe()
        packing = asyncio.ensure_future(_closing(self.pack(root, path, writer, **options), writer))
        try:
            async for chunk in read_chunks(reader):
                yield chunk
            await packing
        finally:
            await _end(packing)
            os.close(reader)

    async def pack_layer(self, directory: Path, sink: int, *, timeout: float = STREAM_TIMEOUT) -> None:
        """Write a layer tar of an overlayfs upper or layer directory: its marks become ``.wh.`` members."""
        await self._run({"job": "pack_layer", "root": str(directory)}, [sink], timeout)

    async def assemble(self, root: Path, record: Path, sink: int, *, timeout: float = STREAM_TIMEOUT) -> str:
        """Write the tar that was unpacked to ``root`` with ``record`` to ``sink``, byte for byte; its ``sha256:…``.

        Raises:
            EngineError: record or files are damaged. (Same sizes with other content show in the digest only.)
        """
        descriptor = os.open(record, os.O_RDONLY | os.O_CLOEXEC)
        try:
            answer = await self._run({"job": "assemble", "root": str(root)}, [sink, descriptor], timeout)
        finally:
            os.close(descriptor)
        return str(answer["diff_id"])

    async def stat(self, root: Path, path: str, *, mounts: Mounts = ()) -> PathStat:
        """Describe ``root/path`` without following its last part (unless it ends in ``/`` or ``/.``).

        Raises:
            NotFoundError: no such path.
        """
        request = {"job": "describe", "root": str(root), "path": path, "mounts": _mounts(mounts)}
        return PathStat(**await self._run(request, [], LOOK_TIMEOUT))

    async def changes(self, upper: Path, lowers: Sequence[Path]) -> list[Change]:
        """What ``upper`` changes in the layers ``lowers`` (top layer first), in the order of paths."""
        request = {"job": "changes", "root": str(upper), "lowers": [str(lower) for lower in lowers]}
        answer = await self._run(request, [], LOOK_TIMEOUT)
        return [Change(path, kind) for path, kind in answer["changes"]]

    async def copy_up(self, root: Path, path: str, destination: Path) -> bool:
        """Copy the directory ``root/path`` with its own owner and mode into the empty directory ``destination``.

        False when there was nothing to do: no such directory, or the destination is not empty.
        """
        request = {"job": "copy_up", "root": str(root), "path": path, "destination": str(destination)}
        return bool((await self._run(request, [], STREAM_TIMEOUT))["copied"])

    async def usage(self, root: Path) -> int:
        """The bytes of all files under ``root``, hard links counted once."""
        return int((await self._run({"job": "usage", "root": str(root)}, [], LOOK_TIMEOUT))["size_bytes"])

    async def mount(self, device: str, target: Path, kind: str, flags: int, data: str) -> None:
        """mount(2) in the daemon's own mount namespace, unless ``target`` is a mount point already.

        Raises:
            EngineError: the kernel refuses, or does not answer in time (a network file system).
        """
        request = {"job": "mount", "device": device, "target": str(target), "type": kind, "flags": flags, "data": data}
        await self._run(request, [], LOOK_TIMEOUT)

    async def mount_again(self, namespace: int, path: str, target: Path, *, writable: bool = True) -> None:
        """Lay on ``target``, unless it is a mount point, the very mount that is at ``path`` of a mount namespace.

        ``namespace`` is an open ``/proc/PID/ns/mnt`` (not closed). Mounts below it are not taken along.

        Raises:
            NotFoundError, InvalidParameterError, EngineError: nothing is mounted just there, or the kernel refuses.
        """
        request = {"job": "mount_again", "path": path, "target": str(target), "writable": writable}
        await self._run(request, [namespace], LOOK_TIMEOUT)

    async def unmount(self, target: Path) -> None:
        """Detach all mounts on ``target``; nothing happens when there are none."""
        await self._run({"job": "unmount", "target": str(target)}, [], LOOK_TIMEOUT)

    async def remove(self, directory: Path) -> None:
        """Remove a tree, if it exists, without following links or entering mounts.

        Raises:
            EngineError: something is mounted in it, or the file system refuses.
        """
        await self._run({"job": "remove", "root": str(directory)}, [], STREAM_TIMEOUT)

    async def _run(
        self, request: dict[str, Any], descriptors: list[int], timeout: float, *, left: int = 3
    ) -> dict[str, Any]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                await self._send(json.dumps(request).encode(), [theirs.fileno(), *descriptors])
            try:
                async with asyncio.timeout(timeout):
                    data = await _until_end(ours)
            except TimeoutError:
                raise EngineError(f"{request['job']}: no end after {timeout:.0f} s") from None
            finally:
                await _stop(ours)
        finally:
            ours.close()
        if not data and not descriptors and left:
            # The helper may have died before it forked for this one; without a stream the job can simply be repeated.
            await asyncio.sleep(0.02)
            return await self._run(request, descriptors, timeout, left=left - 1)
        if not data:
            raise EngineError(f"{request['job']}: the helper process died")
        answer: dict[str, Any] = json.loads(data)
        if "error" in answer:
            raise getattr(errors, answer["error"])(answer["message"])
        return answer

    async def _send(self, data: bytes, descriptors: list[int]) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        for _ in range(1000):
            if self._control is None:
                await self.start()
            assert self._control is not None
            try:
                self._control.sendmsg([data], rights)
                return
            except BlockingIOError:
                # More requests than the helper has forked for yet: rare and short.
                await asyncio.sleep(0.005)
            except (BrokenPipeError, ConnectionResetError):
                await self.close()
        raise EngineError("the helper process takes no requests")


def _mounts(mounts: Mounts) -> list[tuple[str, str]]:
    return [(str(source), destination) for source, destination in mounts]


async def _until_end(connection: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    pieces: list[bytes] = []
    while piece := await loop.sock_recv(connection, 1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


async def _stop(connection: socket.socket) -> None:
    """Have the child killed if it still runs, and wait until it is gone: its tree may be unmounted next."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)

    async def gone() -> None:
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            async with asyncio.timeout(KILL_TIMEOUT):
                await _until_end(connection)

    task = asyncio.ensure_future(gone())
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                continue
            raise


async def _end(task: asyncio.Future[Any]) -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


async def _closing(job: Coroutine[Any, Any, None], writer: int) -> None:
    try:
        await job
    finally:
        os.close(writer)
