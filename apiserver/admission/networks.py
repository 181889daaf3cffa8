"""What a client may ask of networks: defaulting and validation, pure."""

from __future__ import annotations

import re
import secrets
from ipaddress import AddressValueError, IPv4Address

from msgspec.structs import replace

from apiserver.admission.containers import endpoint
from apiserver.wire.containers import EndpointRequest
from apiserver.wire.networks import IPAM, IPAMConfig, NetworkCreateRequest
from store.errors import ForbiddenError, InvalidParameterError, NotFoundError, NotImplementedYetError
from store.objects import Network
from store.objects.containers import EndpointSpec
from store.objects.meta import Meta
from store.objects.networks import IpamPool, NetworkSpec

PREDEFINED = ("bridge", "host", "none", "default")
_LATER_DRIVERS = ("overlay", "macvlan", "ipvlan")
_BOOLEAN_OPTIONS = (
    "com.docker.network.bridge.enable_icc",
    "com.docker.network.bridge.enable_ip_masquerade",
    "com.docker.network.bridge.default_bridge",
)
_MTU = "com.docker.network.driver.mtu"
_BRIDGE_NAME = "com.docker.network.bridge.name"
# What Go's strconv.ParseBool takes.
TRUTHS = {**dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True)}
TRUTHS |= dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False)


def admit(request: NetworkCreateRequest) -> Network:
    """The network to create, without subnet and link yet. Raises store.errors in dockerd's words."""
    name = request.name
    if not name.strip():
        raise InvalidParameterError(f"invalid name: {name}")
    if name in PREDEFINED:
        raise ForbiddenError(f"operation is not permitted on predefined {name} network ")
    _check_kind(request)
    ipam = request.ipam or IPAM()
    if ipam.driver not in ("", "default"):
        raise NotFoundError(f'plugin "{ipam.driver}" not found')
    options = request.options or {}
    check_options(options)
    spec = NetworkSpec(
        driver="bridge",
        internal=request.internal,
        attachable=request.attachable,
        ipam_options=ipam.options,
        requested=_pools(ipam.config or []),
        options=options,
    )
    return Network(meta=Meta(uid=secrets.token_hex(32), name=name, labels=request.labels or {}), spec=spec)


def _check_kind(request: NetworkCreateRequest) -> None:
    driver = request.driver or "bridge"
    if request.ingress:
        raise ForbiddenError("Ingress network can only be global scope network")
    if request.scope == "swarm":
        raise ForbiddenError("cannot create a swarm scoped network when swarm is not active")
    if request.config_from and request.config_from.network:
        raise NotFoundError(f'configuration network "{request.config_from.network}" does not exist')
    if request.config_only:
        raise NotImplementedYetError("configuration-only networks are not supported yet")
    if driver in _LATER_DRIVERS:
        raise NotImplementedYetError(f"the network driver {driver} is not supported yet")
    if driver in ("host", "null"):
        raise ForbiddenError(f'only one instance of "{driver}" network is allowed')
    if driver != "bridge":
        raise NotFoundError(f'plugin "{driver}" not found')
    if request.enable_ipv6:
        raise NotImplementedYetError("IPv6 networks are not supported yet")


def check_options(options: dict[str, str]) -> None:
    """Refuse driver options that mean nothing (InvalidParameterError); unknown ones are kept and ignored."""
    for name in _BOOLEAN_OPTIONS:
        text = options.get(name, "true")
        if text not in TRUTHS:
            raise InvalidParameterError(
                f'failed to parse {name} value: {text} (strconv.ParseBool: parsing "{text}": invalid syntax)'
            )
    mtu = options.get(_MTU, "0")
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", mtu, re.ASCII):
        raise InvalidParameterError(
            f'failed to parse {_MTU} value: {mtu} (strconv.Atoi: parsing "{mtu}": invalid syntax)'
        )
    if int(mtu) and not 68 <= int(mtu) <= 65535:
        raise InvalidParameterError(f"invalid MTU number: {mtu}")
    bridge = options.get(_BRIDGE_NAME, "")
    # What the kernel takes as a link's name (dev_valid_name), in ASCII.
    if bridge and (not re.fullmatch(r"[!-~]{1,15}", bridge) or set(bridge) & set("/:") or bridge in (".", "..")):
        raise InvalidParameterError(f"invalid bridge name: {bridge}")


def connection(network: str, request: EndpointRequest) -> EndpointSpec:
    """The endpoint that a client asks for on a network of that name. Raises InvalidParameterError."""
    address = request.ipam_config.ipv4_address if request.ipam_config else ""
    if address:
        try:
            IPv4Address(address)
        except AddressValueError:
            raise InvalidParameterError(f"Invalid IPv4 address: {address})") from None
    return replace(endpoint(network, request), connected=True)


def _pools(configs: list[IPAMConfig]) -> tuple[IpamPool, ...]:
    if any(":" in config.subnet for config in configs):
        raise NotImplementedYetError("IPv6 subnets are not supported yet")
    if len(configs) > 1:
        raise ForbiddenError("bridge driver doesn't support multiple subnets")
    return tuple(
        IpamPool(
            subnet=config.subnet,
            ip_range=config.ip_range,
            gateway=config.gateway,
            auxiliary_addresses=config.auxiliary_addresses or {},
        )
        for config in configs
    )
