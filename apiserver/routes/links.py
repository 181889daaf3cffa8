"""The links (``--link``) between containers on the default bridge, as clients ask for them and see them."""

from __future__ import annotations

from apiserver.admission.links import parse_link
from apiserver.routes import lookup
from store.errors import InvalidParameterError, NotFoundError
from store.objects import Container, HostConfig
from store.objects.containers import Link
from store.store import Store

LONGEST_CHAIN = 16
"""Containers that share each other's network in a circle can be made; none of them can start."""


def resolve(store: Store, host: HostConfig) -> tuple[Link, ...]:
    """The containers that a new one is linked to. InvalidParameterError for one that there is not or that cannot be.

    Only on the default bridge has that a meaning, but everywhere it must be right.
    """
    found: dict[str, Link] = {}
    for text in host.links or ():
        name, alias = parse_link(text)
        try:
            other = _behind(store, name)
        except (NotFoundError, InvalidParameterError) as error:
            raise InvalidParameterError(f"could not get container for {name}: {error}") from None
        if other.spec.host.network_mode == "host":
            raise InvalidParameterError(
                "conflicting options: host type networking can't be used with links. "
                "This would result in undefined behavior"
            )
        found.setdefault(alias, Link(container=other.uid, name=other.name, alias=alias))
    return tuple(found.values()) if host.network_mode in ("default", "bridge") else ()


def _behind(store: Store, name: str) -> Container:
    """The container, or the one whose network it shares."""
    if not name:
        raise InvalidParameterError('invalid name or ID supplied: ""')
    container = lookup.container(store, name)
    for _ in range(LONGEST_CHAIN):
        if not container.spec.host.network_mode.startswith("container:"):
            break
        container = lookup.container(store, container.spec.host.network_mode.removeprefix("container:"))
    return container


def shown(store: Store, container: Container) -> tuple[str, ...]:
    """A container's links as inspect shows them, with the names of now."""
    targets = [(link, store.containers.get(link.container)) for link in container.spec.links]
    return tuple(f"/{target.name if target else link.name}:/{container.name}/{link.alias}" for link, target in targets)


def names_of(store: Store, target: Container) -> tuple[str, ...]:
    """The names by which other containers' links know one, with theirs in front."""
    return tuple(
        f"/{parent.name}/{link.alias}"
        for parent in store.containers.where("linked", target.uid)
        for link in parent.spec.links
        if link.container == target.uid
    )
