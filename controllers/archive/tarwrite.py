"""Tar headers as bytes: ustar where it suffices, a pax record for what does not fit, as Go's writer does.

Nothing here touches a file system.
"""

from __future__ import annotations

from controllers.archive.tarread import BLOCK, DIRECTORY, XATTR_PREFIX, Entry

END = bytes(2 * BLOCK)
LARGEST_OCTAL_7 = 0o7777777
LARGEST_OCTAL_11 = 0o77777777777


def padding(size: int) -> bytes:
    """What follows a payload of ``size`` bytes."""
    return bytes(-size % BLOCK)


def pax_record(key: bytes, value: bytes) -> bytes:
    """One record; its length counts its own digits."""
    size = len(key) + len(value) + 3
    length = size + len(str(size))
    if len(str(length)) != len(str(size)):
        length = size + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def header(entry: Entry) -> bytes:
    """All header blocks of a member."""
    name = entry.name + b"/" if entry.kind == DIRECTORY and not entry.name.endswith(b"/") else entry.name
    records: dict[bytes, bytes] = {}
    if len(name) > 100 or not name.isascii():
        records[b"path"] = name
    if len(entry.link) > 100 or not entry.link.isascii():
        records[b"linkpath"] = entry.link
    for key, count, largest in (
        (b"size", entry.size, LARGEST_OCTAL_11),
        (b"uid", entry.uid, LARGEST_OCTAL_7),
        (b"gid", entry.gid, LARGEST_OCTAL_7),
    ):
        if count > largest:
            records[key] = b"%d" % count
    seconds = entry.mtime // 1_000_000_000
    if not 0 <= seconds <= LARGEST_OCTAL_11:
        records[b"mtime"] = b"%d" % seconds
    for key, value in entry.xattrs.items():
        records[XATTR_PREFIX + key] = value
    main = block(
        name[:100],
        entry.mode,
        entry.uid if entry.uid <= LARGEST_OCTAL_7 else 0,
        entry.gid if entry.gid <= LARGEST_OCTAL_7 else 0,
        entry.size if entry.size <= LARGEST_OCTAL_11 else 0,
        seconds if 0 <= seconds <= LARGEST_OCTAL_11 else 0,
        entry.kind,
        entry.link[:100],
        entry.major,
        entry.minor,
    )
    if not records:
        return main
    data = b"".join(pax_record(key, records[key]) for key in sorted(records))
    directory, _, base = name.rstrip(b"/").rpartition(b"/")
    pax_name = (directory + b"/" if directory else b"") + b"PaxHeaders.0/" + base
    return block(pax_name[:100], 0, 0, 0, len(data), 0, b"x", b"", 0, 0) + data + padding(len(data)) + main


def block(
    name: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    kind: bytes,
    link: bytes,
    major: int,
    minor: int,
) -> bytes:
    """One ustar header block; every number already fits its field."""
    front = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(100, b"\0"), mode, uid, gid, size, mtime)
    # Names of owners are left out, but for root's, which is the same everywhere: numbers are what counts.
    owners = (b"" if uid else b"root").ljust(32, b"\0") + (b"" if gid else b"root").ljust(32, b"\0")
    back = b"%s%sustar\x0000%s%07o\0%07o\0%s" % (kind, link.ljust(100, b"\0"), owners, major, minor, bytes(167))
    return b"%s%06o\0 %s" % (front, sum(front) + sum(back) + 8 * 32, back)
