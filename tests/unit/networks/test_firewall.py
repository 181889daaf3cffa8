"""The packet rules in a kernel of their own: a namespace that only the test has."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from controllers.networks.firewall import Firewall, Forwarding, Zone
from controllers.networks.nftables import Nftables, NftablesError

pytestmark = pytest.mark.host

T = TypeVar("T")
ZONES = [Zone("whb0", "172.17.0.0/16"), Zone("whb1", "10.0.0.4/30", internal=True)]
PORTS = [
    Forwarding("tcp", "0.0.0.0", 8080, "172.17.0.2", 80),
    Forwarding("udp", "127.0.0.1", 53, "172.17.0.2", 53),
    Forwarding("sctp", "0.0.0.0", 8080, "172.17.0.3", 80),
]
TABLE = "wharfinger_test"


def in_namespace(work: Callable[[], T]) -> T:
    """Run on a thread with a network namespace of its own, which ends with it."""
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            results.append(work())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def filled() -> Firewall:
    firewall = Firewall(TABLE)
    firewall.replace(ZONES, PORTS)
    return firewall


def test_a_table_just_made_is_as_it_should_be() -> None:
    assert in_namespace(lambda: filled().differs(ZONES, PORTS)) == ""


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        ("flush ruleset", "table"),
        (f"delete table ip {TABLE}", "table"),
        (f"flush table ip {TABLE}", "rules"),
        (f"flush chain ip {TABLE} forward", "rules"),
        (f"add rule ip {TABLE} forward drop", "rules"),
        (f"add chain ip {TABLE} more", "rules"),
        (f"flush set ip {TABLE} subnets", "sets"),
        (f"delete element ip {TABLE} ports_any {{ tcp . 8080 }}", "ports"),
        (f"add element ip {TABLE} ports_any {{ tcp . 22 : 172.17.0.2 . 22 }}", "ports"),
        (f"flush map ip {TABLE} ports_one", "ports"),
    ],
)
def test_damage_is_named_and_mended(damage: str, word: str) -> None:
    def work() -> tuple[str, str]:
        firewall = filled()
        Nftables().run(damage)
        found = firewall.differs(ZONES, PORTS)
        firewall.replace(ZONES, PORTS)
        return found, firewall.differs(ZONES, PORTS)

    assert in_namespace(work) == (word, "")


def test_ports_open_and_close_and_repeating_it_is_no_error() -> None:
    def work() -> list[object]:
        firewall = filled()
        more = [Forwarding("tcp", "0.0.0.0", 9000, "172.17.0.4", 80)]
        firewall.open(more)
        firewall.open(more)
        opened = firewall.differs(ZONES, [*PORTS, *more])
        return [opened, firewall.close(more), firewall.close(more), firewall.differs(ZONES, PORTS)]

    assert in_namespace(work) == ["", True, False, ""]


def test_a_port_never_leads_to_two_places() -> None:
    def work() -> None:
        filled().open([Forwarding("tcp", "0.0.0.0", 8080, "172.17.0.9", 80)])

    with pytest.raises(NftablesError):
        in_namespace(work)


def test_ports_in_flux_may_be_there_or_not() -> None:
    def work() -> list[str]:
        firewall = filled()
        return [
            firewall.differs(ZONES, PORTS[:2], PORTS[2:]),
            firewall.differs(ZONES, PORTS, [Forwarding("tcp", "0.0.0.0", 1, "172.17.0.9", 1)]),
            firewall.differs(ZONES, PORTS[:1], PORTS[2:]),
        ]

    assert in_namespace(work) == ["", "", "ports"]
