"""Everything ``oci.runtime_spec`` wants, looked up on this host. Blocking, a few small files: about a millisecond."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controllers.containers import capabilities, cgroups, devices, limits, oci, rlimits, seccomp, users
from controllers.layout import Layout
from store.errors import EngineError
from store.objects.containers import Container, HostConfig, MountPoint

INIT_PROGRAMS = (Path("/usr/bin/tini-static"), Path("/usr/bin/tini"))


@dataclass(frozen=True)
class Built:
    """A container's specification, and what had to be cut to fit this host."""

    spec: dict[str, Any]
    warnings: tuple[str, ...]


def build(
    container: Container,
    layout: Layout,
    *,
    root: Path,
    mounts: Sequence[MountPoint] | None = None,
    namespaces: oci.Namespaces | None = None,
    hosts: Path | None = None,
    resolv_conf: Path | None = None,
    hostname: Path | None = None,
    shm: Path | None = None,
    linked: Sequence[str] = (),
) -> Built:
    """The specification of ``container`` with its root mounted at ``root``.

    ``mounts`` defaults to the container's own; the three files are bound over those in ``/etc``. EngineError in
    dockerd's words for a user, group, device, profile or option that cannot be.
    """
    host, config = container.spec.host, container.spec.config
    names = effective_capabilities(host)
    limited, warnings = rlimits.resolve(host.ulimits or ())
    nodes, rules = devices.gather(host.devices or ())
    if host.privileged:
        nodes = devices.every_host_device()
    rules += [devices.parse_rule(text) for text in host.device_cgroup_rules or ()]
    inputs = oci.SpecInputs(
        container=container,
        root=root,
        cgroup=cgroups.path_of(container, layout),
        user=users.resolve(root, config.user, host.group_add or ()),
        mounts=container.spec.mounts if mounts is None else mounts,
        namespaces=namespaces or oci.Namespaces(),
        capabilities=names,
        seccomp=filter_for(host, frozenset(names)),
        resources=limits.resources(host),
        rlimits=limited,
        devices=nodes,
        device_rules=rules,
        hosts=hosts,
        resolv_conf=resolv_conf,
        hostname=hostname,
        shm=shm,
        init=init_program() if host.init else None,
        cgroup_v2=cgroups.version() == 2,
        linked=linked,
        host_name=socket.gethostname(),
    )
    return Built(oci.runtime_spec(inputs), tuple(warnings))


def effective_capabilities(host: HostConfig) -> tuple[str, ...]:
    """A container's capabilities on this host."""
    return capabilities.resolve(
        host.cap_add or (), host.cap_drop or (), privileged=host.privileged, available=capabilities.grantable()
    )


def filter_for(host: HostConfig, names: frozenset[str]) -> dict[str, Any] | None:
    """The seccomp filter that a container's security options ask for; None for none."""
    profile = oci.security_options(host).get("seccomp")
    if host.privileged or profile == "unconfined":
        return None
    return seccomp.custom(profile, names) if profile else seccomp.default_for(names)


def init_program() -> Path:
    """tini on this host; EngineError where it is not installed."""
    for program in INIT_PROGRAMS:
        if os.access(program, os.X_OK):
            return program
    raise EngineError('exec: "docker-init": executable file not found in $PATH')
