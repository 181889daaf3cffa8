"""Forgetting connections that the kernel tracks (ctnetlink; conntrack(8) -D).

A UDP "connection" lives as long as somebody sends. One that began before a port was published, or that leads to the
container that had the port before, would go on leading there for ever.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection, Iterator

from controllers.networks import netlink

_NETFILTER = 12
_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2
_FAMILY = struct.pack("=BBH", socket.AF_INET, 0, 0)
_HEADER = struct.Struct("=IHHII")
_TUPLE, _PROTOCOL, _NUMBER, _DESTINATION_PORT = 1, 2, 1, 3
_NESTED = 0x8000


def forget_udp(ports: Collection[int]) -> int:
    """Have the kernel forget all UDP connections to these ports of the host; returns how many there were.

    Blocking: the time grows with all connections of the host, some 100,000 a second. Raises OSError.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER) as source:
        source.settimeout(10)
        found = [each for each in _connections(source) if _udp_port(each) in ports]
        for each in found:
            attribute = struct.pack("=HH", 4 + len(each), _TUPLE | _NESTED) + each
            _request(source, _DELETE, netlink.ACK, attribute + b"\0" * (-len(attribute) % 4))
            _answered(source)
        return len(found)


def _request(source: socket.socket, kind: int, flags: int, attributes: bytes = b"") -> None:
    body = _FAMILY + attributes
    source.send(_HEADER.pack(_HEADER.size + len(body), kind, netlink.REQUEST | flags, 1, 0) + body)


def _connections(source: socket.socket) -> Iterator[bytes]:
    """The original tuple of each tracked connection, as the kernel encodes it."""
    _request(source, _GET, netlink.ROOT_MATCH)
    while True:
        for kind, _, body in netlink.split(source.recv(1 << 17)):
            if kind == netlink.DONE:
                return
            if kind == netlink.ERROR:
                code = -struct.unpack_from("=i", body)[0]
                raise OSError(code, "conntrack")
            yield dict(netlink.attributes(body[4:])).get(_TUPLE, b"")


def _answered(source: socket.socket) -> None:
    for kind, _, body in netlink.split(source.recv(1 << 16)):
        code = -struct.unpack_from("=i", body)[0] if kind == netlink.ERROR else 0
        # It may have ended by itself in between.
        if code not in (0, errno.ENOENT):
            raise OSError(code, "conntrack")


def _udp_port(connection: bytes) -> int:
    """The port that a UDP connection was opened to, 0 for other protocols."""
    protocol = dict(netlink.attributes(dict(netlink.attributes(connection)).get(_PROTOCOL, b"")))
    if protocol.get(_NUMBER) != bytes([socket.IPPROTO_UDP]):
        return 0
    return int.from_bytes(protocol.get(_DESTINATION_PORT, b""))
