"""The OCI runtime specification of a container, as dockerd 20.10 makes it. Pure: everything looked up is handed in.

Source: the Open Container Initiative's runtime-spec, config.md and config-linux.md.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controllers.containers import tmpfs
from controllers.containers.devices import Device
from controllers.containers.users import User
from store.objects.containers import Container, ContainerConfig, HostConfig, MountPoint, TmpfsOptions

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT_INSIDE = "/sbin/docker-init"
NETWORK_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
"""A container has its network for itself, so its users may ping and bind low ports."""

Spec = dict[str, Any]


@dataclass(frozen=True)
class Namespaces:
    """Paths of namespaces to join; None where the container's modes say whether it gets its own or the host's."""

    network: Path | None = None
    pid: Path | None = None
    ipc: Path | None = None


@dataclass(frozen=True, kw_only=True)
class SpecInputs:
    """What ``runtime_spec`` needs beside the container.

    ``root`` is the mounted root; ``cgroup`` an absolute cgroup path; ``shm`` a host directory for ``/dev/shm`` (shared
    IPC only); ``mounts`` have their sources filled in; ``init`` is tini's path on the host, where one is asked for;
    ``linked`` are the environment variables of links.
    """

    container: Container
    root: Path
    cgroup: str
    user: User = field(default_factory=User)
    mounts: Sequence[MountPoint] = ()
    namespaces: Namespaces = field(default_factory=Namespaces)
    capabilities: Sequence[str] = ()
    seccomp: Spec | None = None
    resources: Spec = field(default_factory=dict)
    rlimits: Sequence[Spec] = ()
    devices: Sequence[Device] = ()
    device_rules: Sequence[Device] = ()
    hosts: Path | None = None
    resolv_conf: Path | None = None
    hostname: Path | None = None
    shm: Path | None = None
    init: Path | None = None
    cgroup_v2: bool = False
    linked: Sequence[str] = ()
    host_name: str = ""


def runtime_spec(inputs: SpecInputs) -> Spec:
    """The content of ``config.json``. EngineError in dockerd's words for options that only show to be wrong here."""
    spec, host, config = inputs.container.spec, inputs.container.spec.host, inputs.container.spec.config
    arguments = [spec.path, *spec.args]
    if inputs.init:
        arguments = [INIT_INSIDE, "--", *arguments]
    found: Spec = {
        "ociVersion": "1.0.2",
        "process": process(inputs, arguments),
        "root": {"path": str(inputs.root), **({"readonly": True} if host.readonly_rootfs else {})},
        "mounts": _mounts(inputs),
        "linux": _linux(inputs),
    }
    if host.uts_mode != "host":
        found["hostname"] = config.hostname
    return found


def environment(
    config: ContainerConfig, hostname: str, *, tty: bool, linked: Iterable[str] = (), extra: Iterable[str] = ()
) -> list[str]:
    """The process's environment: the defaults, what links tell, the container's, then ``extra``.

    A name without ``=`` unsets.
    """
    values = {"PATH": f"PATH={DEFAULT_PATH}", "HOSTNAME": f"HOSTNAME={hostname}"}
    if tty:
        values["TERM"] = "TERM=xterm"
    for variable in (*linked, *(config.env or ()), *extra):
        name, equals, _ = variable.partition("=")
        if equals:
            values[name] = variable
        else:
            values.pop(name, None)
    return list(values.values())


def capability_sets(capabilities: Sequence[str], user: User) -> Spec:
    """The sets a process starts with: another user than root holds none until it runs a program that has them."""
    names = list(capabilities)
    if user.uid:
        return {"bounding": names}
    return {"bounding": names, "effective": names, "permitted": names}


def process(inputs: SpecInputs, arguments: Sequence[str]) -> Spec:
    """The ``process`` part for the container's first process."""
    host, config = inputs.container.spec.host, inputs.container.spec.config
    hostname = inputs.host_name if host.uts_mode == "host" else config.hostname
    found: Spec = {
        "user": user_section(inputs.user),
        "args": list(arguments),
        "env": environment(config, hostname, tty=config.tty, linked=inputs.linked),
        "cwd": config.working_dir or "/",
        "capabilities": capability_sets(inputs.capabilities, inputs.user),
        "oomScoreAdj": host.oom_score_adj,
    }
    if config.tty:
        found["terminal"] = True
        if host.console_size and any(host.console_size):
            found["consoleSize"] = {"height": host.console_size[0], "width": host.console_size[1]}
    if inputs.rlimits:
        found["rlimits"] = list(inputs.rlimits)
    if no_new_privileges(host):
        found["noNewPrivileges"] = True
    return found


def user_section(user: User) -> Spec:
    """The ``user`` part of a process."""
    return {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)}


def security_options(host: HostConfig) -> dict[str, str]:
    """``--security-opt`` as a mapping; an option without a value maps to ``true``."""
    found: dict[str, str] = {}
    for text in host.security_opt or ():
        split = "=" if "=" in text else ":"
        name, separator, value = text.partition(split)
        found[name] = value if separator else "true"
    return found


def no_new_privileges(host: HostConfig) -> bool:
    """Whether set-user-id programs must not raise privileges."""
    return security_options(host).get("no-new-privileges", "false").lower() in ("true", "1", "t")


def _mounts(inputs: SpecInputs) -> list[Spec]:
    host = inputs.container.spec.host
    asked = [_mount_point(point, host) for point in inputs.mounts]
    for destination, options in (host.tmpfs or {}).items():
        asked.append(_tmpfs(posixpath.normpath(destination), [option for option in options.split(",") if option]))
    for destination, source in (
        ("/etc/resolv.conf", inputs.resolv_conf),
        ("/etc/hostname", inputs.hostname),
        ("/etc/hosts", inputs.hosts),
    ):
        if source and all(mount["destination"] != destination for mount in asked):
            access = ["ro"] if host.readonly_rootfs else []
            asked.append(_mount(destination, "bind", str(source), "rbind", *access, "rprivate"))
    taken = {mount["destination"] for mount in asked}
    standard = [
        mount
        for mount in _standard_mounts(inputs)
        if mount["destination"] not in taken and not ("/dev" in taken and mount["destination"].startswith("/dev/"))
    ]
    if inputs.init:
        standard.append(_mount(INIT_INSIDE, "bind", str(inputs.init), "bind", "ro"))
    asked.sort(key=lambda mount: mount["destination"].count("/"))
    return standard + asked


def _mount(destination: str, kind: str, source: str, *options: str) -> Spec:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _standard_mounts(inputs: SpecInputs) -> list[Spec]:
    host = inputs.container.spec.host
    read_only = [] if host.privileged and not host.readonly_rootfs else ["ro"]
    safe = ("nosuid", "noexec", "nodev")
    pseudo_terminals = (*safe[:2], "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
    mounts = [
        _mount("/proc", "proc", "proc", *safe),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", *pseudo_terminals),
        _mount("/sys", "sysfs", "sysfs", *safe, *read_only),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", *read_only, *safe),
        _mount("/dev/mqueue", "mqueue", "mqueue", *safe),
    ]
    if host.ipc_mode == "host":
        mounts.append(_mount("/dev/shm", "bind", "/dev/shm", "rbind", "rprivate"))
    elif inputs.shm:
        mounts.append(_mount("/dev/shm", "bind", str(inputs.shm), "rbind", "rprivate"))
    elif host.ipc_mode != "none":
        size = host.shm_size or 64 * 1024 * 1024
        mounts.append(_mount("/dev/shm", "tmpfs", "shm", *safe, "mode=1777", f"size={size}"))
    return mounts


def _mount_point(point: MountPoint, host: HostConfig) -> Spec:
    if point.type == "tmpfs":
        asked = next(
            (mount for mount in host.mounts or () if posixpath.normpath(mount.target) == point.destination), None
        )
        options = _tmpfs_options(asked.tmpfs_options if asked else None)
        return _tmpfs(point.destination, options + ([] if point.read_write else ["ro"]))
    options = ["bind" if point.non_recursive else "rbind"]
    if not point.read_write:
        options.append("ro")
    if point.type == "bind":
        options.append(point.propagation or "rprivate")
    return _mount(point.destination, "bind", point.source, *options)


def _tmpfs(destination: str, options: Sequence[str]) -> Spec:
    return _mount(destination, "tmpfs", "tmpfs", *tmpfs.merge(options))


def _tmpfs_options(options: TmpfsOptions | None) -> list[str]:
    found: list[str] = []
    if options and options.mode:
        found.append(f"mode={options.mode:o}")
    if options and options.size_bytes:
        found.append(f"size={options.size_bytes}")
    return found


def _propagation(mounts: Sequence[MountPoint]) -> str:
    asked = {point.propagation for point in mounts if point.type == "bind"}
    if asked & {"shared", "rshared"}:
        return "shared"
    return "rslave" if asked & {"slave", "rslave"} else ""


def _linux(inputs: SpecInputs) -> Spec:
    host, config = inputs.container.spec.host, inputs.container.spec.config
    sysctls: dict[str, str] = {}
    if inputs.namespaces.network and host.network_mode != "host":
        sysctls.update(NETWORK_SYSCTLS)
    if config.domainname and host.uts_mode != "host":
        sysctls["kernel.domainname"] = config.domainname
    sysctls.update(host.sysctls or {})
    found: Spec = {
        "cgroupsPath": inputs.cgroup,
        "namespaces": _namespaces(inputs),
        "resources": {**inputs.resources, "devices": _device_rules(inputs)},
        "maskedPaths": host.masked_paths or [],
        "readonlyPaths": host.readonly_paths or [],
    }
    if sysctls:
        found["sysctl"] = sysctls
    if inputs.devices:
        found["devices"] = list(inputs.devices)
    if inputs.seccomp:
        found["seccomp"] = inputs.seccomp
    propagation = _propagation(inputs.mounts)
    if propagation:
        found["rootfsPropagation"] = propagation
    return found


def _namespaces(inputs: SpecInputs) -> list[Spec]:
    host, paths = inputs.container.spec.host, inputs.namespaces
    found: list[Spec] = [{"type": "mount"}]
    if host.network_mode != "host":
        found.append({"type": "network", **({"path": str(paths.network)} if paths.network else {})})
    if host.uts_mode != "host":
        found.append({"type": "uts"})
    for kind, mode, path in (("pid", host.pid_mode, paths.pid), ("ipc", host.ipc_mode, paths.ipc)):
        if mode != "host":
            found.append({"type": kind, **({"path": str(path)} if path else {})})
    if (host.cgroupns_mode or ("private" if inputs.cgroup_v2 and not host.privileged else "host")) == "private":
        found.append({"type": "cgroup"})
    return found


def _device_rules(inputs: SpecInputs) -> list[Spec]:
    if inputs.container.spec.host.privileged:
        return [{"allow": True, "access": "rwm"}]
    standard = [(1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1)]
    rules: list[Spec] = [{"allow": False, "access": "rwm"}]
    rules += [
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"} for major, minor in standard
    ]
    rules.append({"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"})
    return rules + list(inputs.device_rules)
