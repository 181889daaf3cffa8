"""Mount options of tmpfs mounts, merged and checked as dockerd does."""

from __future__ import annotations

from collections.abc import Sequence

from store.errors import InvalidParameterError

DEFAULTS = ("noexec", "nosuid", "nodev", "rprivate")

_OPPOSITES = (
    ("ro", "rw"),
    ("suid", "nosuid"),
    ("dev", "nodev"),
    ("exec", "noexec"),
    ("sync", "async"),
    ("mand", "nomand"),
    ("atime", "noatime"),
    ("diratime", "nodiratime"),
    ("relatime", "norelatime"),
    ("strictatime", "nostrictatime"),
)
_GROUP = {name: names for names in _OPPOSITES for name in names}
_FLAGS = (
    {"defaults", "dirsync", "remount", "bind", "rbind"}
    | {prefix + name for prefix in ("", "r") for name in ("unbindable", "private", "slave", "shared")}
    | set(_GROUP)
)
_KEYS = {"mode", "uid", "gid", "size", "nr_blocks", "nr_inodes", "mpol"}


def merge(options: Sequence[str]) -> list[str]:
    """The defaults with ``options`` over them, the last wins. InvalidParameterError for unknown ones."""
    seen: set[str] = set()
    kept: list[str] = []
    for option in reversed((*DEFAULTS, *options)):
        key, equals, _ = option.partition("=")
        if equals:
            if key not in _KEYS:
                raise InvalidParameterError(f'invalid tmpfs option ["{key}" "{option}"]')
        elif key not in _FLAGS:
            raise InvalidParameterError(f'invalid tmpfs option ["{option}"]')
        if key in seen:
            continue
        seen.update(_GROUP.get(key, (key,)))
        kept.append(option)
    return kept[::-1]
