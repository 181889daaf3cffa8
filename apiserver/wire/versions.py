"""The API versions: the floor, the ceiling, and what changed when, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from store.errors import InvalidParameterError

ApiVersion: TypeAlias = tuple[int, int]
"""Major and minor; compare as tuples: ``call.version >= (1, 40)``."""

MINIMUM: ApiVersion = (1, 24)
CURRENT: ApiVersion = (1, 41)


def text(version: ApiVersion) -> str:
    """The version as URLs and headers spell it."""
    return f"{version[0]}.{version[1]}"


def parse(given: str) -> ApiVersion:
    """The version that a URL names (without the ``v``).

    Raises InvalidParameterError, in dockerd's words, for one that is older than MINIMUM or newer than CURRENT. As in
    dockerd a missing part counts as 0 and further parts make a version newer.
    """
    numbers = [int(part.lstrip("0")[:9] or 0) for part in given.split(".")]
    numbers += [0] * (2 - len(numbers))
    if numbers > list(CURRENT):
        raise InvalidParameterError(
            f"client version {given} is too new. Maximum supported API version is {text(CURRENT)}"
        )
    if numbers < list(MINIMUM):
        raise InvalidParameterError(
            f"client version {given} is too old. Minimum supported API version is {text(MINIMUM)}, "
            "please upgrade your client to a newer version"
        )
    return numbers[0], numbers[1]


@dataclass(frozen=True)
class Change:
    """Something that a version brought: from ``since`` on it is so."""

    since: ApiVersion
    what: str


CHANGES: dict[str, Change] = {
    "info.security-options-named": Change((1, 25), "SecurityOptions are name=… pairs; ExecutionDriver is gone"),
    "create.auto-remove": Change((1, 25), "the engine, not the client, carries AutoRemove out"),
    "network-list.brief": Change((1, 28), "the list of networks leaves their containers out"),
    "wait.condition": Change((1, 30), "wait takes a condition and answers its headers at once"),
    "create.ipc-mode-private": Change((1, 40), "the default IpcMode is private, no longer shareable"),
    "create.kernel-memory-tcp": Change((1, 40), "KernelMemoryTCP is heeded"),
    "create.bind-non-recursive": Change((1, 40), "BindOptions.NonRecursive is heeded"),
    "update.pids-limit": Change((1, 40), "PidsLimit can be updated"),
    "create.cgroupns-mode-by-host": Change((1, 41), "the default CgroupnsMode is the host's choice, no longer host"),
    "create.platform": Change((1, 41), "a platform can be asked for at creation"),
    "image-list.filter-gone": Change((1, 41), "the query parameter filter is gone; reference is a filter"),
    "stats.one-shot": Change((1, 41), "stats can be taken once without a first reading"),
    "events.prune": Change((1, 41), "a prune is an event of its kind"),
}


def has(version: ApiVersion, change: str) -> bool:
    """Whether a request of this version knows of a change named in CHANGES."""
    return version >= CHANGES[change].since
