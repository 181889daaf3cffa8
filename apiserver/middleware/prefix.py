"""The version in front of a path."""

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
