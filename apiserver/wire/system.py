"""The wire types of the system group (API: System)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from store.objects.containers import DockerStruct


class Component(DockerStruct, frozen=True, kw_only=True):
    """One program that the engine consists of."""

    name: str
    version: str
    details: dict[str, str]


class Platform(DockerStruct, frozen=True, kw_only=True):
    """What the engine calls itself."""

    name: str


class Version(DockerStruct, frozen=True, kw_only=True):
    """``GET /version`` (API: SystemVersion)."""

    platform: Platform
    components: list[Component]
    version: str
    api_version: str
    min_api_version: str = msgspec.field(name="MinAPIVersion")
    git_commit: str
    go_version: str
    os: str
    arch: str
    kernel_version: str
    build_time: str


class Plugins(DockerStruct, frozen=True, kw_only=True):
    """The drivers that can be asked for, by what they drive."""

    volume: list[str]
    network: list[str]
    authorization: list[str] | None
    log: list[str]


class IndexInfo(DockerStruct, frozen=True, kw_only=True):
    """One registry."""

    name: str
    mirrors: list[str]
    secure: bool
    official: bool


class RegistryConfig(DockerStruct, frozen=True, kw_only=True):
    """How registries are reached."""

    allow_nondistributable_artifacts_cidrs: list[str] = msgspec.field(name="AllowNondistributableArtifactsCIDRs")
    allow_nondistributable_artifacts_hostnames: list[str]
    insecure_registry_cidrs: list[str] = msgspec.field(name="InsecureRegistryCIDRs")
    index_configs: dict[str, IndexInfo]
    mirrors: list[str]


class Commit(DockerStruct, frozen=True, kw_only=True):
    """Which build of a program is there, and which was expected."""

    id: str = msgspec.field(name="ID")
    expected: str


class RuntimePath(msgspec.Struct, frozen=True, kw_only=True):
    """An OCI runtime's program."""

    path: str


class Swarm(DockerStruct, frozen=True, kw_only=True):
    """The state of swarm mode."""

    node_id: str = msgspec.field(default="", name="NodeID")
    node_addr: str = ""
    local_node_state: str = "inactive"
    control_available: bool = False
    error: str = ""
    remote_managers: list[Any] | None = None


class Info(DockerStruct, frozen=True, kw_only=True):
    """``GET /info`` (API: SystemInfo). Memory in bytes."""

    id: str = msgspec.field(name="ID")
    containers: int
    containers_running: int
    containers_paused: int
    containers_stopped: int
    images: int
    driver: str
    driver_status: list[tuple[str, str]]
    plugins: Plugins
    memory_limit: bool
    swap_limit: bool
    kernel_memory: bool
    kernel_memory_tcp: bool = msgspec.field(name="KernelMemoryTCP")
    cpu_cfs_period: bool
    cpu_cfs_quota: bool
    cpu_shares: bool = msgspec.field(name="CPUShares")
    cpu_set: bool = msgspec.field(name="CPUSet")
    pids_limit: bool
    ipv4_forwarding: bool = msgspec.field(name="IPv4Forwarding")
    bridge_nf_iptables: bool
    bridge_nf_ip6tables: bool
    debug: bool
    n_fd: int
    oom_kill_disable: bool
    n_goroutines: int
    system_time: str
    logging_driver: str
    cgroup_driver: str
    cgroup_version: str
    n_events_listener: int
    kernel_version: str
    operating_system: str
    os_version: str = msgspec.field(name="OSVersion")
    os_type: str = msgspec.field(name="OSType")
    architecture: str
    index_server_address: str
    registry_config: RegistryConfig
    ncpu: int = msgspec.field(name="NCPU")
    mem_total: int
    generic_resources: list[Any] | None
    docker_root_dir: str
    http_proxy: str
    https_proxy: str
    no_proxy: str
    name: str
    labels: list[str]
    experimental_build: bool
    server_version: str
    runtimes: dict[str, RuntimePath]
    default_runtime: str
    swarm: Swarm
    live_restore_enabled: bool
    isolation: str
    init_binary: str
    containerd_commit: Commit
    runc_commit: Commit
    init_commit: Commit
    security_options: list[str]
    warnings: list[str] | None
    execution_driver: str | UnsetType = UNSET
