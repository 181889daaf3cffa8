"""The wire types of the containers group (API: Container).

Responses are structs in Docker's spelling; ``UNSET`` is a field that dockerd leaves out.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from store.objects.containers import ContainerConfig, DockerStruct, Health, HostConfig, PortBinding, docker_name


class EndpointIPAMConfig(DockerStruct, frozen=True, kw_only=True):
    """The addresses that a client wants in a network."""

    ipv4_address: str = msgspec.field(default="", name="IPv4Address")
    ipv6_address: str = msgspec.field(default="", name="IPv6Address")
    link_local_ips: list[str] | None = msgspec.field(default=None, name="LinkLocalIPs")


class EndpointRequest(DockerStruct, frozen=True, kw_only=True):
    """How a client wants to be connected to a network (API: EndpointSettings)."""

    ipam_config: EndpointIPAMConfig | None = msgspec.field(default=None, name="IPAMConfig")
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None


class NetworkingConfig(DockerStruct, frozen=True, kw_only=True):
    """The networks to join at creation, by name."""

    endpoints_config: dict[str, EndpointRequest | None] | None = None


class CreateRequest(ContainerConfig, frozen=True, kw_only=True):
    """The body of ``POST /containers/create``: a configuration with what is the host's and the networks' beside it."""

    cmd: list[str] | str | None = None  # type: ignore[assignment]
    entrypoint: list[str] | str | None = None  # type: ignore[assignment]
    host_config: HostConfig | None = None
    networking_config: NetworkingConfig | None = None

    def config(self) -> ContainerConfig:
        """The configuration alone, with a command given as one string made a list of one."""
        fields = {name: getattr(self, name) for name in ContainerConfig.__struct_fields__}
        for name in ("cmd", "entrypoint"):
            if isinstance(fields[name], str):
                fields[name] = [fields[name]]
        return ContainerConfig(**fields)


class CreateResponse(DockerStruct, frozen=True, kw_only=True):
    """The new container's id, with what may surprise."""

    id: str
    warnings: list[str]


class ContainerState(DockerStruct, frozen=True, kw_only=True):
    """Where a container is in its life."""

    status: str
    running: bool
    paused: bool
    restarting: bool
    oom_killed: bool = msgspec.field(name="OOMKilled")
    dead: bool
    pid: int
    exit_code: int
    error: str
    started_at: str
    finished_at: str
    health: Health | UnsetType = UNSET


class EndpointSettings(DockerStruct, frozen=True, kw_only=True):
    """A container's connection to a network."""

    ipam_config: dict[str, Any] | None = msgspec.field(default=None, name="IPAMConfig")
    links: list[str] | None = None
    aliases: list[str] | None = None
    network_id: str = msgspec.field(default="", name="NetworkID")
    endpoint_id: str = msgspec.field(default="", name="EndpointID")
    gateway: str = ""
    ip_address: str = msgspec.field(default="", name="IPAddress")
    ip_prefix_len: int = msgspec.field(default=0, name="IPPrefixLen")
    ipv6_gateway: str = msgspec.field(default="", name="IPv6Gateway")
    global_ipv6_address: str = msgspec.field(default="", name="GlobalIPv6Address")
    global_ipv6_prefix_len: int = msgspec.field(default=0, name="GlobalIPv6PrefixLen")
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None


class NetworkSettings(DockerStruct, frozen=True, kw_only=True):
    """All of a container's network, the default bridge's figures also at the top as old clients expect."""

    bridge: str = ""
    sandbox_id: str = msgspec.field(default="", name="SandboxID")
    hairpin_mode: bool = False
    link_local_ipv6_address: str = msgspec.field(default="", name="LinkLocalIPv6Address")
    link_local_ipv6_prefix_len: int = msgspec.field(default=0, name="LinkLocalIPv6PrefixLen")
    ports: dict[str, list[PortBinding] | None] = {}
    sandbox_key: str = ""
    secondary_ip_addresses: None = msgspec.field(default=None, name="SecondaryIPAddresses")
    secondary_ipv6_addresses: None = msgspec.field(default=None, name="SecondaryIPv6Addresses")
    endpoint_id: str = msgspec.field(default="", name="EndpointID")
    gateway: str = ""
    global_ipv6_address: str = msgspec.field(default="", name="GlobalIPv6Address")
    global_ipv6_prefix_len: int = msgspec.field(default=0, name="GlobalIPv6PrefixLen")
    ip_address: str = msgspec.field(default="", name="IPAddress")
    ip_prefix_len: int = msgspec.field(default=0, name="IPPrefixLen")
    ipv6_gateway: str = msgspec.field(default="", name="IPv6Gateway")
    mac_address: str = ""
    networks: dict[str, EndpointSettings] = {}


class MountedPoint(DockerStruct, frozen=True, kw_only=True):
    """A mount of a container; name and driver only for volumes."""

    type: str
    name: str | UnsetType = UNSET
    source: str = ""
    destination: str = ""
    driver: str | UnsetType = UNSET
    mode: str = ""
    rw: bool = msgspec.field(default=True, name="RW")
    propagation: str = ""


class GraphDriver(DockerStruct, frozen=True, kw_only=True):
    """Where the container's layers are."""

    data: dict[str, str]
    name: str = "overlay2"


class ContainerInspect(DockerStruct, frozen=True, kw_only=True):
    """The answer of ``GET /containers/{id}/json``."""

    id: str
    created: str
    path: str
    args: list[str]
    state: ContainerState
    image: str
    resolv_conf_path: str
    hostname_path: str
    hosts_path: str
    log_path: str
    name: str
    restart_count: int
    driver: str = "overlay2"
    platform: str = "linux"
    mount_label: str = ""
    process_label: str = ""
    app_armor_profile: str = ""
    exec_ids: list[str] | None = msgspec.field(default=None, name="ExecIDs")
    host_config: dict[str, Any]
    graph_driver: GraphDriver
    size_rw: int | UnsetType = UNSET
    size_root_fs: int | UnsetType = UNSET
    mounts: list[MountedPoint]
    config: dict[str, Any]
    network_settings: NetworkSettings


class Port(DockerStruct, frozen=True, kw_only=True):
    """A container port in a list, with where it is published."""

    ip: str | UnsetType = msgspec.field(default=UNSET, name="IP")
    private_port: int
    public_port: int | UnsetType = UNSET
    type: str


class SummaryHostConfig(DockerStruct, frozen=True, kw_only=True):
    """The little of the host configuration that a list shows."""

    network_mode: str


class SummaryNetworkSettings(DockerStruct, frozen=True, kw_only=True):
    """The networks of a container in a list."""

    networks: dict[str, EndpointSettings]


class ContainerSummary(DockerStruct, frozen=True, kw_only=True):
    """One line of ``GET /containers/json``; ``created`` in seconds."""

    id: str
    names: list[str]
    image: str
    image_id: str = msgspec.field(name="ImageID")
    command: str
    created: int
    ports: list[Port]
    size_rw: int | UnsetType = UNSET
    size_root_fs: int | UnsetType = UNSET
    labels: dict[str, str]
    state: str
    status: str
    host_config: SummaryHostConfig
    network_settings: SummaryNetworkSettings
    mounts: list[MountedPoint]


OMITTED_WHEN_EMPTY = frozenset(
    docker_name(field)
    for field in (
        "exposed_ports healthcheck args_escaped network_disabled mac_address stop_signal stop_timeout shell "
        "storage_opt tmpfs sysctls mounts runtime init"
    ).split()
)


def without_empty(value: ContainerConfig | HostConfig) -> dict[str, Any]:
    """A configuration as JSON-ready values, less the empty fields that dockerd leaves out."""
    fields: dict[str, Any] = msgspec.to_builtins(value)
    return {
        name: item
        for name, item in fields.items()
        if not (name in OMITTED_WHEN_EMPTY and (item is None or (not item and name not in ("StopTimeout", "Init"))))
    }
