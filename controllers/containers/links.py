"""``--link`` on the default bridge: what a container learns of another one (moby: daemon/links)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from store.errors import ConflictError
from store.objects import Container
from store.objects.containers import BRIDGE, Link
from store.store import Store

_OWN = frozenset({"HOME", "PATH"})
"""Variables of the other container that nobody else needs."""


def check(store: Store, container: Container) -> None:
    """ConflictError, in dockerd's words, when a container that is linked to cannot be reached by a start."""
    for link in container.spec.links:
        target = store.containers.get(link.container)
        name = target.name if target is not None else link.name
        if target is None or not target.running:
            raise ConflictError(f"Cannot link to a non running container: /{name} AS /{container.name}/{link.alias}")
        if BRIDGE not in target.status.endpoints:
            raise ConflictError(f"Cannot link to /{name}, as it does not belong to the default network")


def variables(store: Store, container: Container) -> list[str]:
    """The environment variables that tell of the linked containers that run."""
    found: list[str] = []
    for link in container.spec.links:
        target = store.containers.get(link.container)
        if target is not None and target.running and BRIDGE in target.status.endpoints:
            found += _told(container.name, link, target)
    return found


def _told(parent: str, link: Link, target: Container) -> Iterator[str]:
    prefix = link.alias.upper().replace("-", "_")
    address = target.status.endpoints[BRIDGE].ipv4_address
    ports = _sorted(target.spec.config.exposed_ports or ())
    if ports:
        number, protocol = ports[0]
        yield f"{prefix}_PORT={protocol}://{address}:{number}"
    for first, last in _runs(ports):
        name = f"{prefix}_PORT_{first[0]}_{first[1].upper()}"
        yield f"{name}_START={first[1]}://{address}:{first[0]}"
        yield f"{name}_ADDR={address}"
        yield f"{name}_PROTO={first[1]}"
        yield f"{name}_PORT_START={first[0]}"
        name = f"{prefix}_PORT_{first[0]}_{last[1].upper()}"
        yield f"{name}_END={last[1]}://{address}:{last[0]}"
        yield f"{name}_PORT_END={last[0]}"
    for number, protocol in ports:
        name = f"{prefix}_PORT_{number}_{protocol.upper()}"
        yield f"{name}={protocol}://{address}:{number}"
        yield f"{name}_ADDR={address}"
        yield f"{name}_PORT={number}"
        yield f"{name}_PROTO={protocol}"
    yield f"{prefix}_NAME=/{parent}/{link.alias}"
    for variable in target.spec.config.env or ():
        name, equals, value = variable.partition("=")
        if equals and name not in _OWN:
            yield f"{prefix}_ENV_{name}={value}"


def _sorted(exposed: Iterable[str]) -> list[tuple[int, str]]:
    """Ports by number, tcp first."""
    ports = [(number, protocol or "tcp") for number, _, protocol in (text.partition("/") for text in exposed)]
    single = [(int(number), protocol) for number, protocol in ports if number.isdecimal()]
    return sorted(single, key=lambda port: (port[0], port[1] != "tcp", port[1]))


def _runs(ports: list[tuple[int, str]]) -> Iterator[tuple[tuple[int, str], tuple[int, str]]]:
    """The first and the last of ports that follow each other, three or more."""
    begin = 0
    while begin < len(ports):
        end, value = begin, ports[begin][0]
        while end + 1 < len(ports) and ports[end + 1][0] <= value + 1:
            end, value = end + 1, value + 1
        if end > begin + 1:
            yield ports[begin], ports[end]
            begin = end
        begin += 1
