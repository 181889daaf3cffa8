"""Tars made by hand, also such as no sane program writes."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Member:
    """One member: ``kind`` is tarfile's type byte."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    pax: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)


def tar(*members: Member) -> bytes:
    """An archive of the members as they are, in pax format."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.linkname, info.mode = member.kind, member.link, member.mode
            info.size = len(member.data)
            info.mtime = 1_600_000_000
            info.pax_headers = member.pax
            for key, value in member.fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(member.data))
    return sink.getvalue()


def raw_header(name: bytes, size: bytes = b"00000000000\0", kind: bytes = b"0") -> bytes:
    """One block with the size field as given and a right checksum."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:136] = size
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


async def chunks(data: bytes, size: int = 7000) -> AsyncIterator[bytes]:
    """The data in pieces."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def described(root: str) -> dict[str, tuple[object, ...]]:
    """All that is under a directory: type and mode, owner, content or target, for comparing."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            content: object = None
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    content = file.read()
            found[os.path.relpath(path, root)] = (info.st_mode, info.st_uid, info.st_gid, info.st_rdev, content)
    return found
