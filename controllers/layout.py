"""Where things are on disk, and the prefix that marks what on the host is ours.

All names that the whole host shares (links, namespaces, cgroups, nftables table) carry ``prefix``, derived from the
data root, so that two engines never meet and a clean-up finds what is ours and nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The directories of one engine.

    ``data_root`` survives reboots, ``exec_root`` (a tmpfs) does not.
    """

    data_root: Path
    exec_root: Path

    @property
    def prefix(self) -> str:
        """Eight characters: ``wh`` and six hexadecimal digits. Short, because link names have 15 bytes."""
        return "wh" + hashlib.sha256(str(self.data_root).encode()).hexdigest()[:6]

    @property
    def database(self) -> Path:
        """The SQLite file, unless another database was named."""
        return self.data_root / "wharfinger.db"

    @property
    def layers(self) -> Path:
        """One directory a layer, named by ``Layer.directory``; its files under ``diff``."""
        return self.data_root / "layers"

    @property
    def downloads(self) -> Path:
        """Blobs on their way in; a partial one continues."""
        return self.data_root / "downloads"

    @property
    def volumes(self) -> Path:
        """One directory a volume, its data under ``_data``."""
        return self.data_root / "volumes"

    def volume_data(self, name: str) -> Path:
        """The directory that is mounted for a volume."""
        return self.volumes / name / "_data"

    @property
    def containers(self) -> Path:
        """One directory a container."""
        return self.data_root / "containers"

    def container(self, uid: str) -> Path:
        """A container's durable directory: ``upper``, ``work``, ``merged``, ``log``, ``hosts``, ``resolv.conf`` …"""
        return self.containers / uid

    def upper(self, uid: str) -> Path:
        """What the container wrote."""
        return self.container(uid) / "upper"

    def work(self, uid: str) -> Path:
        """overlayfs' scratch directory."""
        return self.container(uid) / "work"

    def merged(self, uid: str) -> Path:
        """The container's root, when mounted."""
        return self.container(uid) / "merged"

    def log(self, uid: str) -> Path:
        """The log in conmon's k8s-file format."""
        return self.container(uid) / "log"

    @property
    def boot_note(self) -> Path:
        """The machine's boot in which the engine last took stock."""
        return self.exec_root / "boot"

    @property
    def bundles(self) -> Path:
        """One directory for each container that runs."""
        return self.exec_root / "bundles"

    def bundle(self, uid: str) -> Path:
        """The OCI bundle: ``config.json`` and run-time files, gone after a reboot."""
        return self.bundles / uid

    @property
    def exits(self) -> Path:
        """conmon writes a file named like the container here when it exits."""
        return self.exec_root / "exits"

    @property
    def attach(self) -> Path:
        """Short directory for attach sockets (their paths have 108 bytes)."""
        return self.exec_root / "a"

    @property
    def runtime_state(self) -> Path:
        """runc's ``--root``."""
        return self.exec_root / "runc"

    @property
    def namespaces(self) -> Path:
        """Network namespaces, each a bind mount named like its container."""
        return self.exec_root / "netns"

    @property
    def names(self) -> Path:
        """dnsmasq's files, one directory a network."""
        return self.exec_root / "names"

    @property
    def cgroup(self) -> str:
        """The parent cgroup of all our containers, without a leading slash."""
        return f"wharfinger-{self.prefix}"

    @property
    def table(self) -> str:
        """The nftables table's name."""
        return f"wharfinger_{self.prefix}"
