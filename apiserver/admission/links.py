"""``HostConfig.Links`` as clients write them: pure, in dockerd's words."""

from __future__ import annotations

from store.errors import InvalidParameterError


def parse_link(text: str) -> tuple[str, str]:
    """``CONTAINER[:ALIAS]`` as the two; also ``/CONTAINER:/PARENT/ALIAS``, as inspect has it. InvalidParameterError."""
    if not text:
        raise InvalidParameterError("empty string specified for links")
    name, colon, alias = text.partition(":")
    if ":" in alias:
        raise InvalidParameterError(f"bad format for links: {text}")
    if name.startswith("/"):
        return name[1:], alias.rpartition("/")[2] or name[1:]
    return name, alias if colon else name
