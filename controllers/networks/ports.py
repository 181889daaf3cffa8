"""Host ports: which are asked for, which are given, and holding them against other programs of the host."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

from controllers.networks.firewall import ANY_ADDRESS
from store.errors import EngineError, InvalidParameterError
from store.objects import Container
from store.objects.containers import PublishedPort

_log = logging.getLogger(__name__)
_FALLBACK_RANGE = (49153, 65535)


@dataclass(frozen=True)
class Wish:
    """A container port to be published. The host port may be any from ``first`` to ``last``; 0 to 0 means any free
    one of the ephemeral range."""

    protocol: str
    container_port: int
    host_ip: str
    first: int
    last: int


class PortTakenError(EngineError):
    """A host port is in use; the text is dockerd's."""


def wishes(container: Container) -> list[Wish]:
    """What a container wants published, by container port; with ``PublishAllPorts`` also what it exposes.

    Raises InvalidParameterError on malformed ports.
    """
    host = container.spec.host
    bindings = dict(host.port_bindings or {})
    if host.publish_all_ports:
        for port in container.spec.config.exposed_ports or {}:
            if not bindings.get(port):
                bindings[port] = None
    found = []
    for port, places in bindings.items():
        number, _, protocol = port.partition("/")
        protocol = protocol.lower() or "tcp"
        container_port = _number(number)
        if places is None and not host.publish_all_ports:
            continue
        # A port with no place is published only when all are (API: PublishAllPorts).
        for place in places or ():
            first, last = _range(place.host_port)
            found.append(Wish(protocol, container_port, _address(place.host_ip), first, last))
        if places is None:
            found.append(Wish(protocol, container_port, ANY_ADDRESS, 0, 0))
    return sorted(found, key=lambda wish: (wish.container_port, wish.protocol, wish.first))


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 0 < int(text) < 65536:
        raise InvalidParameterError(f'invalid port specification: "{text}"')
    return int(text)


def _range(text: str) -> tuple[int, int]:
    if text in ("", "0"):
        return 0, 0
    first, dash, last = text.partition("-")
    start = _number(first)
    end = _number(last) if dash else start
    if end < start:
        raise InvalidParameterError(f'invalid port specification: "{text}"')
    return start, end


def _address(text: str) -> str:
    if text in ("", "::"):
        return ANY_ADDRESS
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        raise InvalidParameterError(f"invalid host IP address: {text}") from None


def ephemeral_range() -> tuple[int, int]:
    """The ports that dockerd gives when asked for any: the kernel's own range for outgoing connections."""
    try:
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        return int(first), int(last)
    except (OSError, ValueError):
        return _FALLBACK_RANGE


class Chooser:
    """Picks ports. Random ones go round the range, so that a port just freed is not given again at once."""

    def __init__(self) -> None:
        self._next = 0

    def choose(
        self, wish: Wish, taken: Callable[[str, str, int], bool], avoid: Collection[tuple[str, str, int]]
    ) -> PublishedPort:
        """The first port that suits; ``taken(protocol, address, port)`` tells what is leased, ``avoid`` what the host
        refused. Raises PortTakenError in dockerd's words."""
        first, last = (wish.first, wish.last) if wish.first else ephemeral_range()
        count = last - first + 1
        start = self._next % count if not wish.first else 0
        for step in range(count):
            port = first + (start + step) % count
            if not taken(wish.protocol, wish.host_ip, port) and (wish.protocol, wish.host_ip, port) not in avoid:
                if not wish.first:
                    self._next = port - first + 1
                return PublishedPort(
                    protocol=wish.protocol, container_port=wish.container_port, host_ip=wish.host_ip, host_port=port
                )
        if wish.first == wish.last and wish.first:
            raise PortTakenError(f"Bind for {wish.host_ip}:{wish.first} failed: port is already allocated")
        raise PortTakenError("all ports are allocated")


class Holder:
    """Sockets bound to published ports, so that no other program takes them, and to notice one that has.

    They are bound and do not listen: were the rules gone for a moment, clients get a refusal instead of silence. They
    end with the daemon; the rules do not.
    """

    def __init__(self) -> None:
        self._held: dict[str, list[socket.socket]] = {}
        self._lock = threading.Lock()

    def hold(self, owner: str, ports: Iterable[PublishedPort]) -> PublishedPort | None:
        """Bind all for this owner, instead of what it held. Returns the first port that another program has, and then
        holds none. Raises PortTakenError when the port cannot be had for another reason."""
        self.release(owner)
        sockets: list[socket.socket] = []
        try:
            for port in ports:
                if (held := _bind(port)) is None:
                    _close(sockets)
                    return port
                sockets.append(held)
        except BaseException:
            _close(sockets)
            raise
        if sockets:
            with self._lock:
                self._held[owner] = sockets
        return None

    def release(self, owner: str) -> None:
        """Close what this owner held."""
        with self._lock:
            sockets = self._held.pop(owner, [])
        _close(sockets)

    def close(self) -> None:
        """Close all."""
        with self._lock:
            owners = list(self._held)
        for owner in owners:
            self.release(owner)


def _close(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        each.close()


_KINDS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "sctp": (socket.SOCK_STREAM, 132)}


def listen_text(port: PublishedPort, reason: str) -> str:
    """dockerd's words for a port that the host does not give."""
    return f"Error starting userland proxy: listen {port.protocol}4 {port.host_ip}:{port.host_port}: bind: {reason}"


def _bind(port: PublishedPort) -> socket.socket | None:
    kind, number = _KINDS[port.protocol]
    try:
        held = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC, number)
    except OSError as error:
        raise PortTakenError(f"Error starting userland proxy: {os.strerror(error.errno or 0).lower()}") from None
    try:
        if port.protocol == "tcp":
            # Only while binding: connections in TIME_WAIT must not count, a later listener of others must.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((port.host_ip, port.host_port))
        if port.protocol == "tcp":
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            # Only listening is refused for every other holder of the port; then it ends, and the port stays bound.
            held.listen(1)
            held.shutdown(socket.SHUT_RD)
    except OSError as error:
        held.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise PortTakenError(listen_text(port, os.strerror(error.errno or 0).lower())) from None
    return held
