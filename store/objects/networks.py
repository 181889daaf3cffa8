"""The network kind and what networks lease: addresses and host ports."""

from __future__ import annotations

import msgspec

from store.objects.meta import Object


class IpamPool(msgspec.Struct, frozen=True, kw_only=True):
    """One subnet of a network, in CIDR text; empty strings mean: choose at creation."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    auxiliary_addresses: dict[str, str] = {}


class NetworkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked. ``pools`` are filled in with real subnets before the commit, ``requested`` are they as the client
    gave them; ``bridge`` is the link's name."""

    driver: str = "bridge"
    scope: str = "local"
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    enable_ipv6: bool = False
    ipam_driver: str = "default"
    ipam_options: dict[str, str] | None = None
    pools: tuple[IpamPool, ...] = ()
    requested: tuple[IpamPool, ...] = ()
    options: dict[str, str] = {}
    bridge: str = ""
    predefined: bool = False


class NetworkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is: ``ready`` when the bridge is up with its address; ``error`` says why not."""

    observed_generation: int = 0
    ready: bool = False
    error: str = ""


class Network(Object, frozen=True, kw_only=True):
    """A network. The predefined ones are ``bridge``, ``host`` and ``none``."""

    spec: NetworkSpec
    status: NetworkStatus = NetworkStatus()


class AddressLease(Object, frozen=True, kw_only=True):
    """An address that is taken: ``name`` is ``network-uid/address``; ``owner`` the container's uid, or empty for the
    gateway and auxiliary addresses."""

    network: str
    address: str
    owner: str = ""


class PortLease(Object, frozen=True, kw_only=True):
    """A host port that is taken: ``name`` is ``protocol/address/port``."""

    protocol: str
    address: str
    port: int
    owner: str
