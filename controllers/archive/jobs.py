"""The jobs a helper child can do: request and descriptors in, result out."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from controllers.archive import compare, duplicate, locate, record, removal
from controllers.archive.collect import Collector
from controllers.archive.confine import confine
from controllers.archive.extract import Extractor, Rules
from controllers.archive.kernel import (
    attach_mount,
    cloned_single_mount,
    enter_mount_namespace,
    is_mount_point,
    make_writable,
    mount_device,
    unmount_all,
)
from controllers.archive.stream import Stream

Request = dict[str, Any]


class BackgroundHash:
    """sha256 in a thread of its own: hashing releases the interpreter, so it runs beside the unpacking."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._queue: queue.Queue[bytes | None] = queue.Queue(maxsize=16)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (chunk := self._queue.get()) is not None:
            self._hash.update(chunk)

    def update(self, data: bytes, /) -> None:
        self._queue.put(data)

    def hexdigest(self) -> str:
        """Of all that came; nothing can follow."""
        self._queue.put(None)
        self._thread.join()
        return self._hash.hexdigest()


def unpack(request: Request, source: int, recorded: int = -1) -> Request:
    """Unpack the tar from ``source`` under ``path``."""
    confine(request["root"], request["mounts"])
    if request["path"] != "/":
        os.chdir(request["path"])
    top = os.getcwdb()
    digest = BackgroundHash() if request["digest"] else None
    owner = request["owner"]
    rules = Rules(
        whiteouts=request["whiteouts"],
        no_overwrite_dir_non_dir=request["no_overwrite_dir_non_dir"],
        owner=(owner[0], owner[1]) if owner else None,
        own_destination=request["own_destination"],
    )
    stream = Stream(source, digest)
    if recorded < 0:
        extractor = Extractor(stream, rules, top)
        extractor.run()
    else:
        with open(recorded, "wb") as sink:
            recorder = record.Recorder(sink)
            extractor = Extractor(stream, rules, top, recorder)
            extractor.run()
            recorder.close()
    return {
        "size_bytes": extractor.size,
        "entries": extractor.entries,
        "stream_bytes": stream.total,
        "diff_id": f"sha256:{digest.hexdigest()}" if digest else "",
    }


def pack(request: Request, sink: int) -> Request:
    """Pack ``path`` to ``sink``."""
    confine(request["root"], request["mounts"])
    path = request["path"]
    found = locate.resolve(path)
    collector = Collector(sink)
    name = os.fsencode(locate.shown_name(path))
    collector.add_tree(found, None if request["content_only"] else name)
    collector.finish()
    return {}


def pack_layer(request: Request, sink: int) -> Request:
    """Pack a directory that overlayfs uses as a layer."""
    confine(request["root"], [])
    collector = Collector(sink, layer=True)
    collector.add_tree(b".", None)
    collector.finish()
    return {}


def assemble(request: Request, sink: int, recorded: int) -> Request:
    """Write a recorded layer's tar."""
    confine(request["root"], [])
    digest = BackgroundHash()
    with open(recorded, "rb") as source:
        record.assemble(source, sink, digest)
    return {"diff_id": f"sha256:{digest.hexdigest()}"}


def describe(request: Request) -> Request:
    """``locate.describe`` in the tree."""
    confine(request["root"], request["mounts"])
    return locate.describe(request["path"])


def changes(request: Request) -> Request:
    """``docker diff``; the lower directories are opened before confining, and never left through links."""
    lowers = [os.open(lower, compare.OPEN_DIRECTORY) for lower in request["lowers"] if os.path.isdir(lower)]
    confine(request["root"], [])
    comparison = compare.Comparison()
    comparison.walk(os.open(".", compare.OPEN_DIRECTORY), lowers)
    return {"changes": [[os.fsdecode(path), kind] for path, kind in comparison.found]}


def copy_up(request: Request) -> Request:
    """Fill an empty directory from one in the tree, if there is one."""
    target = os.open(request["destination"], compare.OPEN_DIRECTORY)
    if os.listdir(target):
        return {"copied": False}
    confine(request["root"], [])
    try:
        found = os.path.realpath(request["path"], strict=True)
    except OSError:
        return {"copied": False}
    if not os.path.isdir(found):
        return {"copied": False}
    duplicator = duplicate.Duplicator()
    try:
        duplicator.directory(os.fsencode(found), target)
    finally:
        duplicator.close()
    return {"copied": True}


def usage(request: Request) -> Request:
    """Bytes of all regular files under the tree, each inode once."""
    confine(request["root"], [])
    seen: set[tuple[int, int]] = set()
    total = 0
    stack = [b"."]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                        continue
                    try:
                        info = entry.stat(follow_symlinks=False)
                    except OSError:
                        # Just removed by who writes there.
                        continue
                    if info.st_nlink > 1:
                        if (info.st_dev, info.st_ino) in seen:
                            continue
                        seen.add((info.st_dev, info.st_ino))
                    total += info.st_size
        except OSError:
            # Likewise, or deeper than a path can say.
            continue
    return {"size_bytes": total}


def mount(request: Request) -> Request:
    """Mount a volume's device, unless the place already is a mount point."""
    target = request["target"]
    if not is_mount_point(target):
        mount_device(request["device"], target, request["type"], request["flags"], request["data"])
    return {}


def mount_again(request: Request, namespace: int) -> Request:
    """Lay the mount at ``path`` of another mount namespace on ``target`` here, unless that is a mount point already."""
    target = request["target"]
    if is_mount_point(target):
        return {}
    here = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    information = os.open("/proc/self/fdinfo", os.O_PATH | os.O_CLOEXEC)
    enter_mount_namespace(namespace)
    tree = cloned_single_mount(request["path"], information)
    enter_mount_namespace(here)
    if request["writable"]:
        make_writable(tree)
    attach_mount(tree, target)
    return {}


def unmount(request: Request) -> Request:
    """Take all mounts off a directory."""
    unmount_all(request["target"])
    return {}


def remove(request: Request) -> Request:
    """Remove a directory with all that is in it; what is mounted in it stays untouched and fails the job."""
    parent, name = os.path.split(request["root"])
    if os.path.isdir(parent):
        confine(parent, [])
        removal.remove_tree(name)
    return {}


JOBS: dict[str, Callable[..., Request]] = {
    job.__name__: job
    for job in (
        unpack,
        pack,
        pack_layer,
        assemble,
        describe,
        changes,
        copy_up,
        usage,
        mount,
        mount_again,
        unmount,
        remove,
    )
}
