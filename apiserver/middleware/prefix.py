"""What is done to a path before it is looked up: cleaning, and taking the version off its front."""

from __future__ import annotations

import re

from apiserver.wire.versions import CURRENT, ApiVersion, parse

_PREFIX = re.compile(r"/v([0-9.]+)(/.*)")


def split_version(path: str) -> tuple[ApiVersion, str]:
    """The API version that a path asks for, and the path without it; no version means the newest.

    Raises InvalidParameterError for a version that is not spoken.
    """
    match = _PREFIX.fullmatch(path)
    if match is None or not match[1].strip("."):
        return CURRENT, path
    return parse(match[1]), match[2]


def clean_path(path: str) -> str:
    """The path without empty and dotted segments, as Go's mux redirects to."""
    if "//" not in path and "/." not in path:
        return path
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if path.endswith("/") and kept else "")
