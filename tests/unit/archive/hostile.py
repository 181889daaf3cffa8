"""Tars that want out of the directory that they are unpacked in, or that are no tars."""

from __future__ import annotations

import tarfile

from tests.unit.archive.tars import Member, raw_header, tar

SYMLINK, LINK, DIRECTORY, CHARACTER = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE

REFUSED = {
    "a name with dots": tar(Member("../evil", b"x")),
    "dots in the middle": tar(Member("a/../../evil", b"x")),
    "only dots": tar(Member("..", kind=DIRECTORY)),
    "a whiteout of the parent": tar(Member(".wh...")),
    "a whiteout of nothing": tar(Member(".wh.")),
    "a hard link to nothing": tar(Member("h", kind=LINK, link="missing")),
    "a hard link outside": tar(Member("h", kind=LINK, link="../secret")),
    "an unknown type": tar(Member("z", kind=b"Z")),
    "no tar": b"not a tar at all" * 100,
    "a short block": b"garbage",
    "a truncated header": tar(Member("a", b"x"))[:300],
    "truncated content": tar(Member("a", b"x" * 5000))[:2000],
    "a negative size": raw_header(b"a", b"\xff" * 12) + bytes(1024),
    "a negative octal size": raw_header(b"a", b"-0000000001\0") + bytes(1024),
    "a size beyond 64 bits": raw_header(b"a", b"\x80" + b"\xff" * 11) + bytes(1024),
    "an endless pax header": raw_header(b"p", b"77777777777\0", b"x") + bytes(4096),
    "a pax header of two megabytes": raw_header(b"p", b"00010000000\0", b"x") + bytes(4096),
    "an endless long name": raw_header(b"p", b"77777777777\0", b"L") + bytes(4096),
    "a NUL in a pax path": tar(Member("a", pax={"path": "a\0b"})),
    "a negative pax size": tar(Member("a", pax={"size": "-5"})),
    "one block of zeros, then something": bytes(512) + tar(Member("a", b"x")),
    "an impossible device": tar(Member("d", kind=CHARACTER, fields={"devmajor": 0o7777777, "devminor": 0o7777777})),
    "an empty name": raw_header(b"") + bytes(1024),
    "a name longer than the kernel takes": tar(Member("x" * 300)),
    "a path longer than the kernel takes": tar(Member("/".join(["x" * 200] * 30))),
    "a file where a directory is needed": tar(Member("f", b"x"), Member("f/g", b"y")),
    "a loop of links": tar(
        Member("a", kind=SYMLINK, link="b"), Member("b", kind=SYMLINK, link="a"), Member("a/f", b"x")
    ),
}
"""To be refused, with nothing outside of the directory changed."""

CONTAINED = {
    "an absolute name": tar(Member("/evil", b"x")),
    "a link to the host's root": tar(Member("e", kind=SYMLINK, link="/"), Member("e/evil", b"x")),
    "a link far up": tar(Member("e", kind=SYMLINK, link="../../../../../.."), Member("e/evil", b"x")),
    "a link in two steps": tar(
        Member("up", kind=SYMLINK, link=".."), Member("e", kind=SYMLINK, link="up/.."), Member("e/evil", b"x")
    ),
    "a file through a link to a file": tar(
        Member("e", kind=SYMLINK, link="/evil"), Member("evil", b"x"), Member("e", b"y")
    ),
}
"""To be unpacked, and all of it, what is called ``evil`` too, inside of the directory."""
