"""The wire types of the networks group (API: Network)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, UnsetType

from apiserver.timestamps import rfc3339
from apiserver.wire.containers import EndpointRequest
from store.objects import Container, Network
from store.objects.containers import DockerStruct
from store.objects.networks import IpamPool


class IPAMConfig(DockerStruct, frozen=True, kw_only=True, omit_defaults=True):
    """One subnet (API: IPAMConfig); empty parts are left out."""

    subnet: str = ""
    ip_range: str = msgspec.field(default="", name="IPRange")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] | None = None


class IPAM(DockerStruct, frozen=True, kw_only=True):
    """How addresses are chosen (API: IPAM)."""

    driver: str = ""
    options: dict[str, str] | None = None
    config: list[IPAMConfig] | None = None


class ConfigReference(DockerStruct, frozen=True, kw_only=True):
    """The network that another takes its configuration from; always empty here."""

    network: str = ""


class NetworkCreateRequest(DockerStruct, frozen=True, kw_only=True):
    """The body of ``POST /networks/create``. ``check_duplicate`` is history: names are unique in any case."""

    name: str = ""
    check_duplicate: bool = False
    driver: str = ""
    scope: str = ""
    enable_ipv6: bool = msgspec.field(default=False, name="EnableIPv6")
    ipam: IPAM | None = msgspec.field(default=None, name="IPAM")
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigReference | None = None
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class NetworkCreateResponse(DockerStruct, frozen=True, kw_only=True):
    """The answer of ``POST /networks/create``."""

    id: str
    warning: str = ""


class NetworkConnectRequest(DockerStruct, frozen=True, kw_only=True):
    """The body of ``POST /networks/{id}/connect``."""

    container: str = ""
    endpoint_config: EndpointRequest | None = None


class NetworkDisconnectRequest(DockerStruct, frozen=True, kw_only=True):
    """The body of ``POST /networks/{id}/disconnect``."""

    container: str = ""
    force: bool = False


class NetworkPruneReport(DockerStruct, frozen=True, kw_only=True):
    """The answer of ``POST /networks/prune``: names; null when none was removed."""

    networks_deleted: list[str] | None


class EndpointResource(DockerStruct, frozen=True, kw_only=True):
    """A running container on a network; addresses with their prefix length."""

    name: str
    endpoint_id: str = msgspec.field(name="EndpointID")
    mac_address: str
    ipv4_address: str = msgspec.field(name="IPv4Address")
    ipv6_address: str = msgspec.field(default="", name="IPv6Address")


class NetworkView(DockerStruct, frozen=True, kw_only=True):
    """A network as clients see it."""

    name: str
    id: str
    created: str
    scope: str
    driver: str
    enable_ipv6: bool = msgspec.field(name="EnableIPv6")
    ipam: IPAM = msgspec.field(name="IPAM")
    internal: bool
    attachable: bool
    ingress: bool
    config_from: ConfigReference = ConfigReference()
    config_only: bool = False
    containers: dict[str, EndpointResource] | UnsetType = UNSET
    options: dict[str, str]
    labels: dict[str, str]


def view(network: Network, containers: Iterable[Container]) -> NetworkView:
    """A network for clients; ``containers`` are those whose endpoints are to be listed with it."""
    spec = network.spec
    config = [_config(pool, asked) for pool, asked in zip(spec.pools, [*spec.requested, IpamPool()], strict=False)]
    return NetworkView(
        name=network.name,
        id=network.uid,
        created=rfc3339(network.meta.created_at),
        scope=spec.scope,
        driver=spec.driver,
        enable_ipv6=spec.enable_ipv6,
        ipam=IPAM(driver=spec.ipam_driver, options=spec.ipam_options, config=config),
        internal=spec.internal,
        attachable=spec.attachable,
        ingress=spec.ingress,
        containers=dict(_endpoints(network, containers)),
        options=spec.options,
        labels=network.meta.labels,
    )


def _config(pool: IpamPool, asked: IpamPool) -> IPAMConfig:
    # As dockerd has it, a subnet that was asked for is shown as it was asked, and one that was chosen with its gateway.
    shown = asked if asked.subnet else pool
    return IPAMConfig(
        subnet=shown.subnet,
        ip_range=shown.ip_range,
        gateway=shown.gateway,
        auxiliary_addresses=shown.auxiliary_addresses or None,
    )


def _endpoints(network: Network, containers: Iterable[Container]) -> Iterable[tuple[str, EndpointResource]]:
    for container in containers:
        for endpoint in container.status.endpoints.values():
            if endpoint.network == network.uid and container.running:
                address = f"{endpoint.ipv4_address}/{endpoint.prefix_length}" if endpoint.ipv4_address else ""
                yield (
                    container.uid,
                    EndpointResource(
                        name=container.name,
                        endpoint_id=endpoint.endpoint_id,
                        mac_address=endpoint.mac_address if endpoint.ipv4_address else "",
                        ipv4_address=address,
                    ),
                )
