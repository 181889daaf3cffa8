"""Finding what a path or a parameter names."""

from __future__ import annotations

import contextlib

from store.errors import InvalidParameterError, NotFoundError
from store.objects import Container
from store.objects.containers import Link
from store.store import Store

SETTLING = 30.0
"""Seconds for which a start that is under way is waited for."""


def container(store: Store, text: str) -> Container:
    """A container by id, name (with or without its slash), a link's ``PARENT/ALIAS``, or beginning of an id.

    NotFoundError when there is none, InvalidParameterError when several begin so.
    """
    found = store.containers.get(text) or store.containers.by_name(text.removeprefix("/")) or _linked(store, text)
    if found is not None:
        return found
    matches = store.containers.by_prefix(text) if text and not text.startswith("/") else []
    if len(matches) == 1:
        return matches[0]
    if len(matches) > 1:
        raise InvalidParameterError(f"Multiple IDs found with provided prefix: {text}")
    raise NotFoundError(f"No such container: {text}")


async def settled(store: Store, text: str) -> Container:
    """As ``container``, once a start that is under way has ended: its process may have been heard of before that."""

    def over(current: Container | None) -> bool:
        return current is None or current.running or not current.start_pending

    found = container(store, text)
    if not over(found):
        with contextlib.suppress(TimeoutError):
            await store.wait_for(Container, found.uid, over, SETTLING)
    return container(store, found.uid)


def link(store: Store, text: str) -> tuple[Container, Link] | None:
    """The parent and the link that ``PARENT/ALIAS`` names."""
    name, slash, alias = text.removeprefix("/").partition("/")
    parent = store.containers.by_name(name) if slash else None
    found = next((each for each in parent.spec.links if each.alias == alias), None) if parent is not None else None
    return (parent, found) if parent is not None and found is not None else None


def _linked(store: Store, text: str) -> Container | None:
    found = link(store, text)
    return store.containers.get(found[1].container) if found is not None else None
