"""The packet rules: one nftables table of our own; what changes with networks and ports are elements of its sets.

Published ports are map elements, looked up for packets to one of the host's own addresses, whether they come from
outside (prerouting), from containers (the same) or from the host itself (output).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from controllers.networks.nftables import Nftables, NftablesError

ANY_ADDRESS = "0.0.0.0"


@dataclass(frozen=True, order=True)
class Forwarding:
    """One published port: packets to ``address:port`` of the host go to ``target:target_port``."""

    protocol: str
    address: str
    port: int
    target: str
    target_port: int

    @property
    def map(self) -> str:
        """Which map holds it."""
        return "ports_any" if self.address == ANY_ADDRESS else "ports_one"

    @property
    def key(self) -> str:
        """The element's key, in nft's words."""
        middle = "" if self.address == ANY_ADDRESS else f"{self.address} . "
        return f"{self.protocol} . {middle}{self.port}"

    @property
    def element(self) -> str:
        """The element, in nft's words."""
        return f"{self.key} : {self.target} . {self.target_port}"


@dataclass(frozen=True)
class Zone:
    """One bridge as the rules see it."""

    bridge: str
    subnet: str
    masquerade: bool = True
    internal: bool = False


def table_text(table: str) -> str:
    """The table with its chains and empty sets.

    Packets for the loopback network that do not come from loopback are dropped first: our bridges accept such
    addresses (route_localnet, needed for 127.0.0.1 as a published address) and must not open the host's own services.
    Redirects are dropped: a container that reaches another of its network by a published port must go on asking the
    host.
    """
    return f"""
table ip {table} {{
  map ports_any {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
  map ports_one {{ type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }}
  set bridges {{ type ifname; }}
  set internal {{ type ifname; }}
  set subnets {{ type ipv4_addr; flags interval; }}
  set masqueraded {{ type ipv4_addr; flags interval; }}
  set inside {{ type ifname . ifname; }}
  chain loopback {{
    type filter hook prerouting priority -300; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
  }}
  chain ports {{
    dnat ip to meta l4proto . ip daddr . th dport map @ports_one
    dnat ip to meta l4proto . th dport map @ports_any
  }}
  chain prerouting {{
    type nat hook prerouting priority -100; policy accept;
    fib daddr type local jump ports
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump ports
  }}
  chain redirects {{
    type filter hook output priority 0; policy accept;
    oifname @bridges icmp type redirect drop
  }}
  chain forward {{
    type filter hook forward priority 0; policy accept;
    meta iifname . meta oifname @inside accept
    oifname @internal drop
    iifname @internal drop
    oifname @bridges ct state established,related accept
    oifname @bridges ct status dnat accept
    oifname @bridges drop
  }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
    oifname @bridges ct status dnat ip saddr @subnets masquerade
    oifname @bridges ip saddr 127.0.0.0/8 masquerade
    oifname @bridges accept
    ip saddr @masqueraded masquerade
  }}
}}
"""


_SETS = ("bridges", "internal", "subnets", "masqueraded", "inside")


def zone_elements(zones: Iterable[Zone]) -> dict[str, list[str]]:
    """The elements of the sets, in nft's words."""
    elements: dict[str, list[str]] = {name: [] for name in _SETS}
    for zone in zones:
        elements["bridges"].append(f'"{zone.bridge}"')
        elements["subnets"].append(zone.subnet)
        elements["inside"].append(f'"{zone.bridge}" . "{zone.bridge}"')
        if zone.internal:
            elements["internal"].append(f'"{zone.bridge}"')
        elif zone.masquerade:
            elements["masqueraded"].append(zone.subnet)
    return elements


def whole_text(table: str, zones: Iterable[Zone], ports: Iterable[Forwarding]) -> str:
    """The transaction that replaces the table by a fresh one with everything in it."""
    lines = [f"table ip {table}", f"delete table ip {table}", table_text(table)]
    for name, elements in zone_elements(zones).items():
        if elements:
            lines.append(f"add element ip {table} {name} {{ {', '.join(elements)} }}")
    lines.extend(_port_lines("add", table, ports))
    return "\n".join(lines)


def _port_lines(verb: str, table: str, ports: Iterable[Forwarding]) -> list[str]:
    grouped: dict[str, list[str]] = {}
    for port in ports:
        grouped.setdefault(port.map, []).append(port.element if verb == "add" else port.key)
    return [f"{verb} element ip {table} {name} {{ {', '.join(items)} }}" for name, items in grouped.items()]


class Firewall:
    """The table in the kernel. All methods block for a fraction of a millisecond and are safe from any thread."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._nft = Nftables()
        self._rules: dict[str, list[str]] = {}

    def replace(self, zones: Iterable[Zone], ports: Iterable[Forwarding]) -> None:
        """Make the table anew with exactly this in it, in one transaction."""
        self._nft.run(whole_text(self._table, zones, ports))
        self._rules = _rules(self._nft.list(f"table ip {self._table}"))

    def open(self, ports: Iterable[Forwarding]) -> None:
        """Add elements; those already there are fine. Raises NftablesError, and then has added none."""
        if lines := _port_lines("add", self._table, ports):
            self._nft.run("\n".join(lines))

    def close(self, ports: Iterable[Forwarding]) -> bool:
        """Take elements out; whether all were there (if not, none was taken: compare and replace)."""
        if lines := _port_lines("delete", self._table, ports):
            try:
                self._nft.run("\n".join(lines))
            except NftablesError:
                return False
        return True

    def remove(self) -> None:
        """Delete the table."""
        self._nft.run(f"table ip {self._table}\ndelete table ip {self._table}")

    def differs(self, zones: Iterable[Zone], ports: Iterable[Forwarding], unsure: Iterable[Forwarding] = ()) -> str:
        """In a word what is wrong in the kernel: ``table``, ``rules``, ``sets``, ``ports``, or nothing.

        ``unsure`` are ports that are just being opened or closed: there or not, both are right. What the rules should
        be is what the kernel told after the last ``replace``.
        """
        listed = self._nft.list(f"table ip {self._table}")
        if not listed:
            return "table"
        if _rules(listed) != self._rules:
            return "rules"
        found = {
            item[kind]["name"]: {_plain(element) for element in item[kind].get("elem", [])}
            for item in listed
            for kind in ("set", "map")
            if kind in item
        }
        wanted = {name: {text.replace('"', "") for text in texts} for name, texts in zone_elements(zones).items()}
        if any(found.get(name) != elements for name, elements in wanted.items()):
            return "sets"
        tolerated = {port.element for port in unsure}
        expected: dict[str, set[str]] = {"ports_any": set(), "ports_one": set()}
        for port in ports:
            expected[port.map].add(port.element)
        if any(found.get(name, set()) - tolerated != elements - tolerated for name, elements in expected.items()):
            return "ports"
        return ""


def _rules(listed: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Each chain with its hook and its rules, without what is the kernel's own numbering."""
    chains: dict[str, list[str]] = {}
    for item in listed:
        if "chain" in item:
            hook = {key: value for key, value in item["chain"].items() if key != "handle"}
            chains[item["chain"]["name"]] = [json.dumps(hook, sort_keys=True)]
        elif "rule" in item:
            chains[item["rule"]["chain"]].append(json.dumps(item["rule"]["expr"], sort_keys=True))
    return chains


_PROTOCOLS = {str(socket.getprotobyname(name)): name for name in ("tcp", "udp", "sctp")}


def _plain(element: Any) -> str:
    """An element of nft's JSON in the words that we wrote it in."""
    match element:
        case [key, value]:
            return f"{_plain(key)} : {_plain(value)}"
        case {"elem": inner}:
            return _plain(inner["val"])
        case {"concat": [first, *rest]} if str(first) in _PROTOCOLS:
            return " . ".join([_PROTOCOLS[str(first)], *(_plain(part) for part in rest)])
        case {"concat": parts}:
            return " . ".join(_plain(part) for part in parts)
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case _:
            return str(element)
