"""Copying a directory's content into another one that lies outside of the confined tree."""

from __future__ import annotations

import os
import stat

from controllers.archive.extract import UNSUPPORTED

CHUNK = 1 << 24


class Duplicator:
    """Copies from paths in the confined tree to below an open directory."""

    def __init__(self) -> None:
        self._links: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._kept: list[int] = []

    def directory(self, source: bytes, target: int) -> None:
        """All that is in ``source``, then its own owner, mode and times, to the open directory ``target``."""
        for name in os.listdir(source):
            self._member(source.rstrip(b"/") + b"/" + name, name, target)
        info = os.stat(source)
        os.fchown(target, info.st_uid, info.st_gid)
        copy_attributes(source, target)
        os.fchmod(target, stat.S_IMODE(info.st_mode))
        os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))

    def close(self) -> None:
        """Let go of the directories kept for hard links."""
        for descriptor in self._kept:
            os.close(descriptor)

    def _member(self, source: bytes, name: bytes, target: int) -> None:
        info = os.lstat(source)
        form = stat.S_IFMT(info.st_mode)
        if form == stat.S_IFSOCK:
            return
        if form == stat.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=target)
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target)
            try:
                self.directory(source, inner)
            finally:
                os.close(inner)
            return
        if info.st_nlink > 1:
            key = (info.st_dev, info.st_ino)
            if key in self._links:
                at, first = self._links[key]
                os.link(first, name, src_dir_fd=at, dst_dir_fd=target, follow_symlinks=False)
                return
            self._kept.append(os.dup(target))
            self._links[key] = (self._kept[-1], name)
        if form == stat.S_IFREG:
            self._regular(source, name, target, info)
            return
        if form == stat.S_IFLNK:
            os.symlink(os.readlink(source), name, dir_fd=target)
        else:
            os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target)
        os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
        if form != stat.S_IFLNK:
            os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=target)
        os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _regular(self, source: bytes, name: bytes, target: int, info: os.stat_result) -> None:
        reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
            try:
                while os.sendfile(writer, reader, None, CHUNK):
                    pass
                os.fchown(writer, info.st_uid, info.st_gid)
                copy_attributes(reader, writer)
                os.fchmod(writer, stat.S_IMODE(info.st_mode))
                os.utime(writer, ns=(info.st_atime_ns, info.st_mtime_ns))
            finally:
                os.close(writer)
        finally:
            os.close(reader)


def copy_attributes(source: bytes | int, target: int) -> None:
    """Extended attributes, but for overlayfs' own, as far as the target's file system has them."""
    for name in os.listxattr(source):
        if name.startswith("trusted.overlay."):
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
