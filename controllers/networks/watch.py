"""What the kernel tells of changes that somebody else made: links, addresses and routes here and inside containers,
forwarding, packet rules. Each only wakes a loop, which looks for itself."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Iterable
from functools import partial

from controllers.networks import netlink
from controllers.networks.host import Host

_log = logging.getLogger(__name__)
_SOL_NETLINK, _ADD_MEMBERSHIP, _LISTEN_ALL_NSID = 270, 1, 8
_LINKS, _ADDRESSES, _ROUTES, _FORWARDING = 1, 5, 7, 24
_NEW_FORWARDING, _ALL_LINKS = 80, -1
_LOSSES = (netlink.DELETE_LINK, netlink.DELETE_ADDRESS, netlink.DELETE_ROUTE)
_NETFILTER, _RULES, _NEW_GENERATION = 12, 7, (10 << 8) | 15
_FORCED_BUFFER, _BUFFER = 33, 1 << 21


class Watcher:
    """Reads the kernel's messages on the event loop.

    ``changed_bridge(name)``, ``changed_container(uid, seconds)`` and ``changed_host()`` are called for what may have
    been changed by others; the seconds are how long to wait before looking.
    """

    def __init__(
        self,
        host: Host,
        *,
        changed_bridge: Callable[[str], None],
        changed_container: Callable[[str, float], None],
        changed_host: Callable[[], None],
    ) -> None:
        self._host = host
        self._changed_bridge = changed_bridge
        self._changed_container = changed_container
        self._changed_host = changed_host
        self._sockets: list[socket.socket] = []

    def start(self) -> None:
        """Begin. Raises OSError."""
        route = _socket(socket.NETLINK_ROUTE, (_LINKS, _ADDRESSES, _ROUTES, _FORWARDING))
        # Tells of all namespaces that have a number here, so of each container's, without a socket in each.
        route.setsockopt(_SOL_NETLINK, _LISTEN_ALL_NSID, 1)
        rules = _socket(_NETFILTER, (_RULES,))
        self._sockets = [route, rules]
        loop = asyncio.get_running_loop()
        loop.add_reader(route, partial(self._read, route, self._route_message))
        loop.add_reader(rules, partial(self._read, rules, self._rules_message))

    def stop(self) -> None:
        """End."""
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            loop.remove_reader(each)
            each.close()
        self._sockets.clear()

    def _read(self, source: socket.socket, handle: Callable[[int, int, bytes], None]) -> None:
        # A bound for one turn: a storm of messages must not hold up the loop's other work.
        for _ in range(64):
            try:
                data, ancillary, _, _ = source.recvmsg(1 << 16, 64)
            except BlockingIOError:
                return
            except OSError as error:
                # Messages were lost (ENOBUFS): anything may have changed.
                _log.warning("the kernel's messages came too fast: %s; looking at everything", error)
                self._changed_host()
                for uid in list(self._host.connected):
                    self._changed_container(uid, 0.0)
                return
            namespace = _namespace(ancillary)
            for kind, _, body in netlink.split(data):
                handle(kind, namespace, body)

    def _route_message(self, kind: int, namespace: int, body: bytes) -> None:
        if namespace >= 0:
            if kind in _LOSSES or (kind == netlink.NEW_LINK and not netlink.link_is_up(body)):
                self._container(self._host.owner_of_namespace(namespace))
        elif kind in (netlink.NEW_LINK, netlink.DELETE_LINK):
            link = netlink.parse_link(body)
            owner = self._host.owner_of(link.name)
            # A port that leaves its bridge is told as a deletion too, but in the bridge's family.
            deleted = kind == netlink.DELETE_LINK and body[0] != socket.AF_BRIDGE
            if owner is not None and deleted:
                self._container(owner)
            elif owner is not None and not (link.up and link.master and kind == netlink.NEW_LINK):
                # Mostly its bridge is gone, and comes back with all its ports.
                self._container(owner, after=0.25)
            elif owner is None and not (link.up and kind == netlink.NEW_LINK):
                # One that is up tells of each port that comes and goes; its addresses and routes tell for themselves.
                self._changed_bridge(link.name)
        elif kind == netlink.DELETE_ADDRESS:
            if (address := netlink.parse_address(body)) is not None:
                self._changed_bridge(address.label)
        elif kind == netlink.DELETE_ROUTE:
            if (route := netlink.parse_route(body)) is not None:
                self._changed_bridge(_link_name(route.index))
        elif kind == _NEW_FORWARDING:
            found = dict(netlink.attributes(body[4:]))
            if struct.unpack("=i", found.get(1, b"\0\0\0\0"))[0] == _ALL_LINKS:
                self._changed_host()

    def _rules_message(self, kind: int, _: int, body: bytes) -> None:
        if kind != _NEW_GENERATION:
            return
        author = dict(netlink.attributes(body[4:])).get(2, b"")
        if int.from_bytes(author) != self._host.rules_thread:
            self._changed_host()

    def _container(self, uid: str | None, *, after: float = 0.02) -> None:
        if uid is not None and not self._host.is_busy(uid):
            self._changed_container(uid, after)


def _socket(protocol: int, groups: Iterable[int]) -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    made.setsockopt(socket.SOL_SOCKET, _FORCED_BUFFER, _BUFFER)
    made.bind((0, 0))
    for group in groups:
        made.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    return made


def _namespace(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if level == _SOL_NETLINK and kind == _LISTEN_ALL_NSID:
            return int(struct.unpack("=i", data[:4])[0])
    return -1


def _link_name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""
