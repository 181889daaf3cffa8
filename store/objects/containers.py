"""The container kind.

``ContainerConfig`` and ``HostConfig`` are what the client sent to ``POST /containers/create`` after defaulting, under
Docker's own names (encoded in Docker's spelling), with null kept apart from empty: inspect has to give both back.
"""

from __future__ import annotations

from signal import SIGKILL
from typing import Any, Literal

import msgspec

from store.objects.meta import Object

Phase = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]


def docker_name(field: str) -> str:
    """``snake_case`` to Docker's PascalCase."""
    return "".join(part[:1].upper() + part[1:] for part in field.split("_"))


class DockerStruct(msgspec.Struct, frozen=True, kw_only=True, rename=docker_name):
    """A struct whose encoded names are Docker's."""


class HealthConfig(DockerStruct, frozen=True, kw_only=True, omit_defaults=True):
    """A health check; durations in nanoseconds, 0 means inherit."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    retries: int = 0


class ContainerConfig(DockerStruct, frozen=True, kw_only=True):
    """The part of a container that would move with its image (API: ContainerConfig)."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, dict[str, Any]] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    healthcheck: HealthConfig | None = None
    args_escaped: bool = False
    image: str = ""
    volumes: dict[str, dict[str, Any]] | None = None
    working_dir: str = ""
    entrypoint: list[str] | None = None
    network_disabled: bool = False
    mac_address: str = ""
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: list[str] | None = None


class PortBinding(DockerStruct, frozen=True, kw_only=True):
    """Where a container port is (asked to be) published on the host; an empty port means any free one."""

    host_ip: str = msgspec.field(default="", name="HostIp")
    host_port: str = ""


class RestartPolicy(DockerStruct, frozen=True, kw_only=True):
    """``no``, ``always``, ``unless-stopped`` or ``on-failure`` (with a maximum)."""

    name: str = ""
    maximum_retry_count: int = 0


class LogConfig(DockerStruct, frozen=True, kw_only=True):
    """The log driver and its options."""

    type: str = ""
    config: dict[str, str] | None = None


class Ulimit(DockerStruct, frozen=True, kw_only=True):
    """One resource limit."""

    name: str = ""
    hard: int = 0
    soft: int = 0


class DeviceMapping(DockerStruct, frozen=True, kw_only=True):
    """A host device inside the container."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class ThrottleDevice(DockerStruct, frozen=True, kw_only=True):
    """A block I/O rate of one device."""

    path: str = ""
    rate: int = 0


class WeightDevice(DockerStruct, frozen=True, kw_only=True):
    """A block I/O weight of one device."""

    path: str = ""
    weight: int = 0


class DeviceRequest(DockerStruct, frozen=True, kw_only=True):
    """A request for devices of a driver (``--gpus``)."""

    driver: str = ""
    count: int = 0
    device_ids: list[str] | None = msgspec.field(default=None, name="DeviceIDs")
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class BindOptions(DockerStruct, frozen=True, kw_only=True, omit_defaults=True):
    """Options of a bind mount."""

    propagation: str = ""
    non_recursive: bool = False


class DriverConfig(DockerStruct, frozen=True, kw_only=True, omit_defaults=True):
    """A volume driver with its options."""

    name: str = ""
    options: dict[str, str] | None = None


class VolumeOptions(DockerStruct, frozen=True, kw_only=True, omit_defaults=True):
    """Options of a volume mount."""

    no_copy: bool = False
    labels: dict[str, str] | None = None
    driver_config: DriverConfig | None = None


class TmpfsOptions(DockerStruct, frozen=True, kw_only=True, omit_defaults=True):
    """Options of a tmpfs mount: size in bytes, mode as a number."""

    size_bytes: int = 0
    mode: int = 0


class Mount(DockerStruct, frozen=True, kw_only=True, omit_defaults=True):
    """A mount as ``--mount`` asks for it (API: Mount)."""

    target: str = ""
    source: str = ""
    type: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


class HostConfig(DockerStruct, frozen=True, kw_only=True):
    """The part of a container that depends on the host (API: HostConfig). Sizes in bytes, CPU in 1e-9 cores or µs."""

    binds: list[str] | None = None
    container_id_file: str = msgspec.field(default="", name="ContainerIDFile")
    log_config: LogConfig = LogConfig()
    network_mode: str = ""
    port_bindings: dict[str, list[PortBinding] | None] | None = None
    restart_policy: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    cgroupns_mode: str = ""
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | None = None
    tmpfs: dict[str, str] | None = None
    uts_mode: str = msgspec.field(default="", name="UTSMode")
    userns_mode: str = ""
    shm_size: int = 0
    sysctls: dict[str, str] | None = None
    runtime: str = ""
    console_size: tuple[int, int] | None = None
    isolation: str = ""
    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = msgspec.field(default=None, name="BlkioDeviceReadIOps")
    blkio_device_write_iops: list[ThrottleDevice] | None = msgspec.field(default=None, name="BlkioDeviceWriteIOps")
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    kernel_memory: int = 0
    kernel_memory_tcp: int = msgspec.field(default=0, name="KernelMemoryTCP")
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: int | None = None
    ulimits: list[Ulimit] | None = None
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = msgspec.field(default=0, name="IOMaximumIOps")
    io_maximum_bandwidth: int = msgspec.field(default=0, name="IOMaximumBandwidth")
    mounts: list[Mount] | None = None
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    init: bool | None = None


class EndpointSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One network that a container asks for. ``network`` is the network's uid; empty strings mean: choose.

    ``ipam_given`` is whether the client sent an IPAMConfig, be it empty: inspect has to give it back.
    """

    network: str
    aliases: tuple[str, ...] = ()
    ipv4_address: str = ""
    mac_address: str = ""
    links: tuple[str, ...] = ()
    driver_opts: dict[str, str] | None = None
    ipam_given: bool = False
    connected: bool = False
    """Whether it came by a connection, not with the container's creation."""


BRIDGE = "bridge"
"""The default network, the only one on which a container's own links mean anything."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Another container on the default bridge that one is linked to: its uid, its name then, and the name given it."""

    container: str
    name: str
    alias: str


class MountPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A mount as resolved at creation: what will be mounted where.

    ``name`` and ``driver`` only for volumes; ``source`` is a host path (for a volume, its data directory); ``mode`` is
    the text that the client gave; ``copy_up`` asks to fill an empty volume from the image once.
    """

    type: Literal["bind", "volume", "tmpfs"]
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    mode: str = ""
    read_write: bool = True
    propagation: str = ""
    copy_up: bool = False
    anonymous: bool = False
    non_recursive: bool = False


class StopRequest(msgspec.Struct, frozen=True, kw_only=True):
    """How a stop was asked for: the signal's number and the grace in seconds (below 0: for ever)."""

    signal: int
    timeout: float

    @property
    def is_kill(self) -> bool:
        """Whether it was asked for as a kill, after which nothing is waited for: dockerd's events tell them apart."""
        return self.signal == SIGKILL and self.timeout < 0


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked.

    ``wanted`` is the standing wish. ``starts`` grows by one with each start or restart that a client asks for, so that
    a wish which was fulfilled and ended (the process exited) is not mistaken for one still to be fulfilled. ``paused``
    likewise is a wish. ``manually_stopped`` keeps ``unless-stopped`` from reviving after a daemon restart.
    """

    config: ContainerConfig
    host: HostConfig
    image_id: str
    path: str
    args: tuple[str, ...]
    mounts: tuple[MountPoint, ...] = ()
    endpoints: dict[str, EndpointSpec] = {}
    links: tuple[Link, ...] = ()
    wanted: Literal["created", "running", "stopped"] = "created"
    starts: int = 0
    paused: bool = False
    manually_stopped: bool = False
    stop: StopRequest | None = None
    remove_volumes: bool = False


class EndpointStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A live connection to a network. ``network`` is its uid; ``interface`` the name inside the container."""

    network: str
    endpoint_id: str
    ipv4_address: str = ""
    prefix_length: int = 0
    gateway: str = ""
    mac_address: str = ""
    interface: str = ""
    host_interface: str = ""
    dns_names: tuple[str, ...] = ()


class PublishedPort(msgspec.Struct, frozen=True, kw_only=True):
    """A port that answers on the host. ``protocol`` is tcp, udp or sctp; ``host_ip`` 0.0.0.0 or :: for all."""

    protocol: str
    container_port: int
    host_ip: str
    host_port: int


class HealthResult(DockerStruct, frozen=True, kw_only=True):
    """One probe's outcome; times as RFC 3339 text, as clients see them."""

    start: str
    end: str
    exit_code: int
    output: str


class Health(DockerStruct, frozen=True, kw_only=True):
    """The health of a running container: ``starting``, ``healthy`` or ``unhealthy``."""

    status: str = "starting"
    failing_streak: int = 0
    log: list[HealthResult] = []


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a generation could not be fulfilled: ``kind`` is the name of a class in store.errors."""

    generation: int
    kind: str
    message: str


class ContainerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is. ``starts`` is the last wish (``spec.starts``) that was acted on.

    ``pid`` with ``pid_start_time`` (clock ticks since boot, field 22 of /proc/PID/stat) names the container's first
    process beyond doubt, with ``boot_id`` also across reboots. Times in nanoseconds since the epoch, 0 for never.
    ``stopping_since`` is when the stop signal went out, 0 when none has; ``next_restart_at`` when the policy's back-off
    ends; ``restart_delay`` the last back-off in seconds. ``joined`` are the networks of the last run by name, their
    uids; that and ``sandbox_id`` stay when it has ended, for inspect.
    """

    observed_generation: int = 0
    phase: Phase = "created"
    starts: int = 0
    pid: int = 0
    pid_start_time: int = 0
    conmon_pid: int = 0
    boot_id: str = ""
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    dead: bool = False
    error: str = ""
    failure: Failure | None = None
    restart_count: int = 0
    restart_delay: float = 0.0
    next_restart_at: int = 0
    stopping_since: int = 0
    health: Health | None = None
    endpoints: dict[str, EndpointStatus] = {}
    ports: tuple[PublishedPort, ...] = ()
    joined: dict[str, str] = {}
    sandbox_id: str = ""
    warnings: tuple[str, ...] = ()

    def joined_last(self) -> dict[str, str]:
        """``joined`` as it is when the present run has ended, or a start has failed."""
        return {name: endpoint.network for name, endpoint in self.endpoints.items()} or self.joined


class Container(Object, frozen=True, kw_only=True):
    """A container; ``meta.name`` without the leading slash."""

    spec: ContainerSpec
    status: ContainerStatus = ContainerStatus()

    @property
    def running(self) -> bool:
        """Whether it has a live process (a paused one has)."""
        return self.status.phase in ("running", "paused")

    @property
    def network_mode(self) -> str:
        """``bridge``, ``host``, ``none``, ``container:ID`` or a network's name."""
        mode = self.spec.host.network_mode
        return "bridge" if mode in ("", "default") else mode

    @property
    def start_pending(self) -> bool:
        """Whether a client's wish that it run is still to be fulfilled."""
        return self.spec.wanted == "running" and self.spec.starts > self.status.starts

    @property
    def names_from(self) -> str:
        """The container whose host name, hosts and resolv.conf it has: itself, or the one whose network it joins."""
        kind, _, other = self.network_mode.partition(":")
        return other if kind == "container" else self.uid
