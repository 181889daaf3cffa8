"""Who a process in a container runs as: ``User`` and ``GroupAdd`` looked up in the container's own files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from controllers.containers.inroot import read_in_root
from store.errors import InvalidParameterError

MAXIMUM_ID = 2**31 - 1
_FILE_LIMIT = 8 * 1024 * 1024


@dataclass(frozen=True)
class User:
    """A resolved user; ``groups`` are the additional group ids, ``home`` is empty where the container does not say."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


def resolve(root: Path | int, text: str, group_add: Sequence[str] = ()) -> User:
    """Resolve ``name|uid[:group|gid]`` in the container mounted at ``root``.

    Reads ``/etc/passwd`` and ``/etc/group`` below ``root``; numbers need no entry. Raises InvalidParameterError with
    dockerd's words for a name that is not there or a number out of range.
    """
    passwd = _read(root, "/etc/passwd")
    group = _read(root, "/etc/group")
    return resolve_in(passwd, group, text, group_add)


def resolve_in(passwd: str, group: str, text: str, group_add: Sequence[str] = ()) -> User:
    """The same as ``resolve`` with the two files' texts in hand."""
    user_text, colon, group_text = text.partition(":")
    user_text = user_text or "0"
    entry = next(_entries(passwd, user_text, 7), None)
    if entry is not None:
        name, uid, gid, home = entry[0], _number(entry[2]), _number(entry[3]), entry[5]
    elif _is_number(user_text):
        name, uid, gid, home = "", _checked(int(user_text)), 0, "/"
    else:
        raise InvalidParameterError(f"unable to find user {user_text}: no matching entries in passwd file")
    groups: list[int] = []
    if colon and group_text:
        gid = _group(group, group_text, f"unable to find group {group_text}: no matching entries in group file")
    else:
        for fields in _lines(group, 4):
            if name and name in fields[3].split(","):
                groups.append(_number(fields[2]))
    _checked(uid)
    _checked(gid)
    extra = [
        _group(group, word, f"Unable to find group {word}: no matching entries in group file") for word in group_add
    ]
    return User(uid, gid, tuple(dict.fromkeys([gid, *groups, *extra])), home or "/")


def _read(root: Path | int, path: str) -> str:
    try:
        return read_in_root(root, path, _FILE_LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""


def _lines(text: str, width: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            fields = stripped.split(":")
            yield fields + [""] * (width - len(fields))


def _entries(text: str, wanted: str, width: int) -> Iterator[list[str]]:
    for fields in _lines(text, width):
        if fields[0] == wanted or (_is_number(wanted) and fields[2] == wanted):
            yield fields


def _group(text: str, wanted: str, missing: str) -> int:
    entry = next(_entries(text, wanted, 4), None)
    if entry is not None:
        return _checked(_number(entry[2]))
    if _is_number(wanted):
        return _checked(int(wanted))
    raise InvalidParameterError(missing)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,18}", text) is not None


def _number(text: str) -> int:
    return int(text) if _is_number(text) else 0


def _checked(number: int) -> int:
    if not 0 <= number <= MAXIMUM_ID:
        raise InvalidParameterError(f"uids and gids must be in range 0-{MAXIMUM_ID}")
    return number
