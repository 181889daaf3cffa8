"""The ``local`` driver's rules: names, options, and what they mean to mount(2). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from store.errors import InvalidParameterError, NotFoundError

DRIVER = "local"
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
ALLOWED = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
OPTIONS = frozenset({"type", "o", "device", "size"})
NETWORK_TYPES = frozenset({"nfs", "nfs4", "cifs"})
# What each option needs beside it.
COMPANIONS = {"device": ("type",), "type": ("device",), "o": ("device", "type")}

# mount(8)'s words for flags of mount(2): (set, clear).
FLAGS: dict[str, tuple[int, int]] = {
    "defaults": (0, 0),
    "rw": (0, 1),
    "ro": (1, 0),
    "suid": (0, 2),
    "nosuid": (2, 0),
    "dev": (0, 4),
    "nodev": (4, 0),
    "exec": (0, 8),
    "noexec": (8, 0),
    "sync": (16, 0),
    "async": (0, 16),
    "remount": (32, 0),
    "mand": (64, 0),
    "nomand": (0, 64),
    "dirsync": (128, 0),
    "atime": (0, 1024),
    "noatime": (1024, 0),
    "diratime": (0, 2048),
    "nodiratime": (2048, 0),
    "bind": (4096, 0),
    "rbind": (4096 | 16384, 0),
    "relatime": (1 << 21, 0),
    "norelatime": (0, 1 << 21),
    "strictatime": (1 << 24, 0),
    "nostrictatime": (0, 1 << 24),
}


@dataclass(frozen=True)
class DeviceMount:
    """What to mount for a volume: arguments of mount(2)."""

    device: str
    type: str
    flags: int
    data: str

    @property
    def server(self) -> str:
        """The server's name of a network mount that still has to be resolved, or nothing."""
        return self._option("addr") if self.type in NETWORK_TYPES else ""

    def with_server(self, address: str) -> DeviceMount:
        """The same with the server's address instead of its name."""
        data = ",".join(f"addr={address}" if part.startswith("addr=") else part for part in self.data.split(","))
        return DeviceMount(self.device, self.type, self.flags, data)

    def _option(self, name: str) -> str:
        for part in self.data.split(","):
            key, _, value = part.partition("=")
            if key == name:
                return value
        return ""


def check_driver(name: str, driver: str) -> None:
    """Raises NotFoundError for any driver but ``local``: there are no plugins."""
    if driver != DRIVER:
        raise NotFoundError(f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found')


def check_name(name: str) -> None:
    """Raises InvalidParameterError in dockerd's words for a name that the driver does not take."""
    if len(name) == 1:
        raise InvalidParameterError(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if len(name) > 255 or not NAME.fullmatch(name):
        raise InvalidParameterError(
            f'create {name}: {json.dumps(name)} includes invalid characters for a local volume name, only "{ALLOWED}" '
            "are allowed. If you intended to pass a host directory, use absolute path"
        )


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Raises InvalidParameterError in dockerd's words for options that do not go together."""
    for option in options:
        if option not in OPTIONS:
            raise InvalidParameterError(f"create {name}: invalid option: {json.dumps(option)}")
    if "size" in options:
        raise InvalidParameterError(f"create {name}: quota size requested but no quota support")
    for option, companions in COMPANIONS.items():
        if option not in options:
            continue
        for companion in companions:
            if not options.get(companion):
                raise InvalidParameterError(f"create {name}: missing required option: {json.dumps(companion)}")


def device_mount(options: Mapping[str, str] | None) -> DeviceMount | None:
    """What the options say to mount, None for a plain directory."""
    if not options or not (options.get("device") or options.get("type")):
        return None
    flags = 0
    data: list[str] = []
    for word in options.get("o", "").split(","):
        if not word:
            continue
        if word in FLAGS:
            put, clear = FLAGS[word]
            flags = flags & ~clear | put
        else:
            data.append(word)
    return DeviceMount(options.get("device", ""), options.get("type", ""), flags, ",".join(data))
