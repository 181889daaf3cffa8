"""rtnetlink, as much of it as bridges and containers need: messages as bytes, sent in batches (rtnetlink(7)).

A socket belongs for good to the network namespace of the thread that opened it, so ``RouteSocket`` opens its own at
construction and never later.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

REQUEST, ACK, ROOT_MATCH, REPLACE, EXCLUSIVE, CREATE = 0x1, 0x4, 0x300, 0x100, 0x200, 0x400
NEW_LINK, DELETE_LINK, GET_LINK, SET_LINK = 16, 17, 18, 19
NEW_ADDRESS, DELETE_ADDRESS, GET_ADDRESS = 20, 21, 22
NEW_ROUTE, DELETE_ROUTE, GET_ROUTE = 24, 25, 26
NEW_NEIGHBOUR, DELETE_NEIGHBOUR = 28, 29
INTERFACE_UP = 0x1

ERROR, DONE = 2, 3
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 10, 18
_IFLA_IFALIAS, _IFLA_NET_NS_FD, _IFLA_LINK_NETNSID = 20, 28, 37
_IFLA_PROTINFO_NESTED = 12 | 0x8000
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_BRPORT_HAIRPIN, _BRPORT_ISOLATED = 4, 33
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_ATTRIBUTE = struct.Struct("=HH")


class NetlinkError(OSError):
    """The kernel's answer to a message: ``errno`` is set as for a system call."""


@dataclass(frozen=True)
class Message:
    """A request without sequence number; ``ignore`` are error numbers that mean that all is well."""

    kind: int
    flags: int
    body: bytes
    ignore: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Link:
    """A link as the kernel tells it; ``alias`` is free text (ip link set alias), ``peer_namespace`` the kernel's number
    here for the namespace that its other end is in, -1 when there is none."""

    index: int
    name: str
    up: bool
    master: int
    mac_address: str
    alias: str
    kind: str
    mtu: int
    peer_namespace: int


@dataclass(frozen=True)
class Address:
    """An IPv4 address on a link; ``label`` is the link's name."""

    index: int
    address: str
    prefix_length: int
    label: str = ""


@dataclass(frozen=True)
class RouteEntry:
    """An IPv4 route in the main table; the default route has ``prefix_length`` 0."""

    destination: str
    prefix_length: int
    gateway: str
    index: int


@dataclass
class Reply:
    """What came back for a batch."""

    links: list[Link] = field(default_factory=list)
    addresses: list[Address] = field(default_factory=list)
    routes: list[RouteEntry] = field(default_factory=list)


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def mac_bytes(mac_address: str) -> bytes:
    """``02:42:ac:11:00:02`` to six bytes."""
    return bytes.fromhex(mac_address.replace(":", ""))


def add_bridge(name: str, *, mac_address: str, mtu: int) -> Message:
    """A new bridge, up."""
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, INTERFACE_UP, INTERFACE_UP)
    body += _text(_IFLA_IFNAME, name) + _attribute(_IFLA_ADDRESS, mac_bytes(mac_address))
    body += _number(_IFLA_MTU, mtu) + _attribute(_IFLA_LINKINFO, _text(_INFO_KIND, "bridge"))
    return Message(NEW_LINK, CREATE | EXCLUSIVE, body, frozenset((errno.EEXIST,)))


def set_alias(name: str, alias: str) -> Message:
    """Give a link its alias; the kernel does not take one with a new link."""
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name) + _text(_IFLA_IFALIAS, alias)
    return Message(SET_LINK, 0, body)


def add_veth(name: str, *, bridge: int, mtu: int, peer: str, peer_mac: str, peer_namespace: int) -> Message:
    """A veth pair: ``name`` here, up, a port of the bridge with that index; ``peer`` in the namespace of that file
    descriptor, still down (the kernel refuses it up before both ends exist)."""
    inner = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    inner += _text(_IFLA_IFNAME, peer) + _attribute(_IFLA_ADDRESS, mac_bytes(peer_mac)) + _number(_IFLA_MTU, mtu)
    inner += _number(_IFLA_NET_NS_FD, peer_namespace)
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, INTERFACE_UP, INTERFACE_UP)
    body += _text(_IFLA_IFNAME, name)
    body += _number(_IFLA_MTU, mtu) + _number(_IFLA_MASTER, bridge)
    data = _text(_INFO_KIND, "veth") + _attribute(_INFO_DATA, _attribute(_VETH_PEER, inner))
    return Message(NEW_LINK, CREATE | EXCLUSIVE, body + _attribute(_IFLA_LINKINFO, data))


def set_up(index: int) -> Message:
    """Set a link up."""
    return Message(SET_LINK, 0, _LINK.pack(socket.AF_UNSPEC, 0, index, INTERFACE_UP, INTERFACE_UP))


def set_master(index: int, bridge: int) -> Message:
    """Make a link a port of a bridge, and set it up."""
    body = _LINK.pack(socket.AF_UNSPEC, 0, index, INTERFACE_UP, INTERFACE_UP) + _number(_IFLA_MASTER, bridge)
    return Message(SET_LINK, 0, body)


def set_port(index: int, *, isolated: bool) -> Message:
    """How a bridge port behaves (bridge(8)): it may send back to where a packet came from, which a container needs to
    reach itself by a published port where packets on bridges pass the rules; ``isolated`` ones do not meet."""
    flags = _attribute(_BRPORT_HAIRPIN, b"\1") + _attribute(_BRPORT_ISOLATED, b"\1" if isolated else b"\0")
    body = _LINK.pack(socket.AF_BRIDGE, 0, index, 0, 0) + _attribute(_IFLA_PROTINFO_NESTED, flags)
    return Message(SET_LINK, 0, body)


def delete_link(index: int) -> Message:
    """Delete a link; none there is fine."""
    return Message(
        DELETE_LINK, 0, _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0), frozenset((errno.ENODEV, errno.EINVAL))
    )


def get_link(name: str) -> Message:
    """Ask for one link by name; none there is fine: the reply has no link."""
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name)
    return Message(GET_LINK, 0, body, frozenset((errno.ENODEV,)))


def list_links() -> Message:
    """Ask for all links."""
    return Message(GET_LINK, ROOT_MATCH, _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0))


def list_addresses() -> Message:
    """Ask for all IPv4 addresses."""
    return Message(GET_ADDRESS, ROOT_MATCH, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0))


def list_routes() -> Message:
    """Ask for all IPv4 routes; only those of the main table are kept."""
    return Message(GET_ROUTE, ROOT_MATCH, _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0))


def add_address(index: int, address: str, prefix_length: int) -> Message:
    """An IPv4 address on a link, with the broadcast address that belongs to it; there already is fine."""
    raw = socket.inet_aton(address)
    host_bits = (1 << (32 - prefix_length)) - 1
    broadcast = struct.pack("!I", struct.unpack("!I", raw)[0] | host_bits)
    body = _ADDRESS.pack(socket.AF_INET, prefix_length, 0, 0, index)
    body += _attribute(2, raw) + _attribute(1, raw) + _attribute(4, broadcast)
    return Message(NEW_ADDRESS, CREATE | REPLACE, body)


def delete_address(index: int, address: str, prefix_length: int) -> Message:
    """Take an address off a link; not there is fine."""
    raw = socket.inet_aton(address)
    body = _ADDRESS.pack(socket.AF_INET, prefix_length, 0, 0, index) + _attribute(2, raw) + _attribute(1, raw)
    return Message(DELETE_ADDRESS, 0, body, frozenset((errno.EADDRNOTAVAIL,)))


def add_default_route(index: int, gateway: str) -> Message:
    """The default route over a gateway on a link, replacing another."""
    body = _ROUTE.pack(socket.AF_INET, 0, 0, 0, 254, 3, 0, 1, 0)
    body += _attribute(5, socket.inet_aton(gateway)) + _number(4, index)
    return Message(NEW_ROUTE, CREATE | REPLACE, body)


def add_connected_route(index: int, subnet: str, prefix_length: int, source: str) -> Message:
    """The route that the kernel makes itself for an address on a link: to its subnet, from that address."""
    body = _ROUTE.pack(socket.AF_INET, prefix_length, 0, 0, 254, 2, 253, 1, 0)
    body += _attribute(1, socket.inet_aton(subnet)) + _number(4, index) + _attribute(7, socket.inet_aton(source))
    return Message(NEW_ROUTE, CREATE | REPLACE, body)


def delete_default_route(index: int, gateway: str) -> Message:
    """Remove the default route over that gateway; not there is fine."""
    body = _ROUTE.pack(socket.AF_INET, 0, 0, 0, 254, 0, 255, 0, 0)
    body += _attribute(5, socket.inet_aton(gateway)) + _number(4, index)
    return Message(DELETE_ROUTE, 0, body, frozenset((errno.ESRCH,)))


def bridge_entry(port: int, mac_address: str) -> Message:
    """Tell a bridge behind which port a MAC address is, for as long as the port exists (bridge(8), fdb replace … master
    static)."""
    no_arp, by_master = 0x40, 0x04
    body = _NEIGHBOUR.pack(socket.AF_BRIDGE, port, no_arp, by_master, 0) + _attribute(2, mac_bytes(mac_address))
    return Message(NEW_NEIGHBOUR, CREATE | REPLACE, body)


def forget_neighbour(index: int, address: str) -> Message:
    """Drop what the host believes to be the MAC address of an IPv4 address; nothing known is fine."""
    body = _NEIGHBOUR.pack(socket.AF_INET, index, 0, 0, 0) + _attribute(1, socket.inet_aton(address))
    return Message(DELETE_NEIGHBOUR, 0, body, frozenset((errno.ENOENT, errno.EINVAL)))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and value of each attribute in a message's tail."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def parse_link(body: bytes) -> Link:
    """The link in the body of an RTM_NEWLINK or RTM_DELLINK message."""
    _, _, index, flags, _ = _LINK.unpack_from(body)
    found = dict(attributes(body[_LINK.size :]))
    kind = dict(attributes(found.get(_IFLA_LINKINFO, b""))).get(_INFO_KIND, b"")
    return Link(
        index=index,
        name=found.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"),
        up=bool(flags & INTERFACE_UP),
        master=int.from_bytes(found.get(_IFLA_MASTER, b""), "little"),
        mac_address=found.get(_IFLA_ADDRESS, b"").hex(":"),
        alias=found.get(_IFLA_IFALIAS, b"").rstrip(b"\0").decode(errors="replace"),
        kind=kind.rstrip(b"\0").decode(errors="replace"),
        mtu=int.from_bytes(found.get(_IFLA_MTU, b""), "little"),
        peer_namespace=int.from_bytes(found.get(_IFLA_LINK_NETNSID, b"\xff\xff\xff\xff"), "little", signed=True),
    )


def link_is_up(body: bytes) -> bool:
    """Whether the link in the body of an RTM_NEWLINK or RTM_DELLINK message is up."""
    return bool(_LINK.unpack_from(body)[3] & INTERFACE_UP)


def parse_address(body: bytes) -> Address | None:
    """The address in the body of an RTM_NEWADDR or RTM_DELADDR message; None unless IPv4."""
    family, prefix_length, _, _, index = _ADDRESS.unpack_from(body)
    found = dict(attributes(body[_ADDRESS.size :]))
    raw = found.get(2) or found.get(1)
    if family != socket.AF_INET or raw is None:
        return None
    label = found.get(3, b"").rstrip(b"\0").decode(errors="replace")
    return Address(index=index, address=socket.inet_ntoa(raw), prefix_length=prefix_length, label=label)


def parse_route(body: bytes) -> RouteEntry | None:
    """The route in the body of an RTM_NEWROUTE or RTM_DELROUTE message; None unless IPv4, unicast and in main."""
    family, prefix_length, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(body)
    if family != socket.AF_INET or table != 254 or kind != 1:
        return None
    found = dict(attributes(body[_ROUTE.size :]))
    return RouteEntry(
        destination=socket.inet_ntoa(found.get(1, b"\0\0\0\0")),
        prefix_length=prefix_length,
        gateway=socket.inet_ntoa(found[5]) if 5 in found else "",
        index=int.from_bytes(found.get(4, b""), "little"),
    )


def split(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Kind, sequence number and body of each netlink message in a datagram."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield kind, sequence, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


class RouteSocket:
    """A NETLINK_ROUTE socket in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(10)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def run(self, *messages: Message) -> Reply:
        """Send all in one datagram, wait for all answers. The kernel does each on its own: the first failure is raised
        as ``NetlinkError`` after the last answer. At most one listing in a batch, as the last message."""
        datagram = bytearray()
        waiting: dict[int, Message] = {}
        for message in messages:
            self._sequence += 1
            waiting[self._sequence] = message
            flags = REQUEST | message.flags | (0 if message.flags & ROOT_MATCH == ROOT_MATCH else ACK)
            datagram += _HEADER.pack(_HEADER.size + len(message.body), message.kind, flags, self._sequence, 0)
            datagram += message.body + b"\0" * (-len(message.body) % 4)
        self._socket.send(datagram)
        return self._receive(waiting)

    def _receive(self, waiting: dict[int, Message]) -> Reply:
        reply, failure = Reply(), 0
        while waiting:
            for kind, sequence, body in split(self._socket.recv(1 << 17)):
                message = waiting.get(sequence)
                if message is None:
                    continue
                if kind == ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    del waiting[sequence]
                    if code and code not in message.ignore:
                        failure = failure or code
                elif kind == DONE:
                    del waiting[sequence]
                else:
                    _collect(reply, kind, body)
        if failure:
            raise NetlinkError(failure, os.strerror(failure))
        return reply


def _collect(reply: Reply, kind: int, body: bytes) -> None:
    if kind == NEW_LINK:
        reply.links.append(parse_link(body))
    elif kind == NEW_ADDRESS and (address := parse_address(body)) is not None:
        reply.addresses.append(address)
    elif kind == NEW_ROUTE and (route := parse_route(body)) is not None:
        reply.routes.append(route)
