"""Finding what a path or a parameter names."""

from __future__ import annotations

from store.errors import InvalidParameterError, NotFoundError
from store.objects import Container
from store.store import Store


def container(store: Store, text: str) -> Container:
    """A container by id, name (with or without its slash) or unambiguous beginning of an id, in that order.

    NotFoundError when there is none, InvalidParameterError when several begin so.
    """
    found = store.containers.get(text) or store.containers.by_name(text.removeprefix("/"))
    if found is not None:
        return found
    matches = store.containers.by_prefix(text) if text and not text.startswith("/") else []
    if len(matches) == 1:
        return matches[0]
    if len(matches) > 1:
        raise InvalidParameterError(f"Multiple IDs found with provided prefix: {text}")
    raise NotFoundError(f"No such container: {text}")
