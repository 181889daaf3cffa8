"""Host devices inside containers: ``--device``, ``--device-cgroup-rule``, and all of them for privileged ones."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from store.errors import InvalidParameterError
from store.objects.containers import DeviceMapping

Device = dict[str, Any]

_RULE = re.compile(r"([acb]) ([0-9]{1,9}|\*):([0-9]{1,9}|\*) ([rwm]{1,3})")
_NEVER = {"/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/.lxc", "/dev/.lxd-mounts", "/dev/.udev"}


def allow(device: Device, access: str) -> Device:
    """The cgroup rule that lets a container use a device."""
    kind = {"u": "c", "p": "c"}.get(device["type"], device["type"])
    return {"allow": True, "type": kind, "major": device["major"], "minor": device["minor"], "access": access}


def host_device(path: str, inside: str) -> Device:
    """Describe the device node at ``path`` for the runtime; OSError where it is none or not there."""
    info = os.stat(path)
    if stat.S_ISBLK(info.st_mode):
        kind = "b"
    elif stat.S_ISCHR(info.st_mode):
        kind = "c"
    else:
        raise OSError(22, "not a device node")
    return {
        "path": inside,
        "type": kind,
        "major": os.major(info.st_rdev),
        "minor": os.minor(info.st_rdev),
        "fileMode": stat.S_IMODE(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
    }


def gather(mappings: Sequence[DeviceMapping]) -> tuple[list[Device], list[Device]]:
    """The device nodes and cgroup rules for ``--device``; a directory stands for the devices in it.

    InvalidParameterError in dockerd's words for one that is not there.
    """
    nodes: list[Device] = []
    rules: list[Device] = []
    for mapping in mappings:
        access = mapping.cgroup_permissions or "rwm"
        found = list(_mapped(mapping))
        if not found:
            raise InvalidParameterError(
                f'error gathering device information while adding custom device "{mapping.path_on_host}": '
                + ("not a device node" if os.path.exists(mapping.path_on_host) else "no such file or directory")
            )
        nodes += found
        rules += [allow(device, access) for device in found]
    return nodes, rules


def _mapped(mapping: DeviceMapping) -> Iterator[Device]:
    path, inside = mapping.path_on_host, mapping.path_in_container or mapping.path_on_host
    if not os.path.isdir(path):
        try:
            yield host_device(path, inside)
        except OSError:
            return
        return
    for directory, _, names in os.walk(path):
        for name in sorted(names):
            source = os.path.join(directory, name)
            try:
                yield host_device(source, os.path.join(inside, os.path.relpath(source, path)))
            except OSError:
                continue


def every_host_device() -> list[Device]:
    """All device nodes below the host's ``/dev``, for a privileged container."""
    found: list[Device] = []
    for directory, names, files in os.walk("/dev"):
        names[:] = sorted(name for name in names if os.path.join(directory, name) not in _NEVER)
        for name in sorted(files):
            path = os.path.join(directory, name)
            if path == "/dev/console" or os.path.islink(path):
                continue
            try:
                found.append(host_device(path, path))
            except OSError:
                continue
    return found


def parse_rule(text: str) -> Device:
    """A cgroup rule such as ``c 1:3 rwm`` (cgroups v1, devices.txt); InvalidParameterError for another form."""
    match = _RULE.fullmatch(text)
    if match is None:
        raise InvalidParameterError(f"invalid device cgroup rule format: '{text}'")
    rule: Device = {"allow": True, "type": match[1], "access": match[4]}
    rule["major"] = -1 if match[2] == "*" else int(match[2])
    rule["minor"] = -1 if match[3] == "*" else int(match[3])
    return rule
