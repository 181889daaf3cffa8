"""A tar reader for hostile streams: ustar, pax, GNU long names and sparse files, as Go's archive/tar accepts them.

Names are bytes throughout. Nothing here touches a file system.
"""

from __future__ import annotations

from controllers.archive.stream import Stream
from store.errors import InvalidParameterError

BLOCK = 512
ZEROS = bytes(BLOCK)
# Go's archive/tar refuses larger pax and long-name records too.
LONGEST_SPECIAL = 1 << 20
LARGEST_NUMBER = (1 << 63) - 1
XATTR_PREFIX = b"SCHILY.xattr."

REGULAR, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
GLOBAL = b"g"
PAYLOAD_FREE = frozenset({LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO})


def invalid_header() -> InvalidParameterError:
    """What Go's reader says of anything malformed."""
    return InvalidParameterError("archive/tar: invalid tar header")


class Entry:
    """One member. ``size`` is that of the payload that follows in the stream, 0 where the type has none.

    ``name`` is cleaned: relative, without ``.``; it may begin with ``../`` (to be refused by whoever extracts).
    ``mtime`` in nanoseconds. ``sparse`` are (offset, length) pieces of a file of ``real_size`` bytes.
    """

    # Not a dataclass: what that imports would be half of the helper process's modules.
    __slots__ = (
        "gid",
        "kind",
        "link",
        "major",
        "minor",
        "mode",
        "mtime",
        "name",
        "real_size",
        "size",
        "sparse",
        "uid",
        "xattrs",
    )

    def __init__(
        self,
        *,
        name: bytes,
        kind: bytes,
        mode: int,
        uid: int,
        gid: int,
        size: int,
        mtime: int,
        link: bytes,
        xattrs: dict[bytes, bytes] | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.mtime = mtime
        self.link = link
        self.xattrs = xattrs if xattrs is not None else {}
        self.major = 0
        self.minor = 0
        self.sparse: list[tuple[int, int]] | None = None
        self.real_size = 0


def clean(name: bytes) -> bytes:
    """Go's ``filepath.Clean`` of a member's name made relative; ``.`` for the top itself."""
    if b"//" not in name and b"/." not in name and name[:1] not in (b"/", b"."):
        return name.rstrip(b"/") or b"."
    rooted = name.startswith(b"/")
    kept: list[bytes] = []
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            if kept and kept[-1] != b"..":
                kept.pop()
            elif not rooted:
                kept.append(part)
            continue
        kept.append(part)
    return b"/".join(kept) or b"."


def text(data: bytes) -> bytes:
    """A NUL-terminated field."""
    return data.split(b"\0", 1)[0]


def number(data: bytes) -> int:
    """A numeric field: octal with blanks, or base 256 (which may be negative).

    Raises:
        InvalidParameterError: it is neither, or too large for 64 bits.
    """
    if data[0] & 0x80:
        value = int.from_bytes(data, "big", signed=False) & ((1 << (8 * len(data) - 1)) - 1)
        if data[0] & 0x40:
            value -= 1 << (8 * len(data) - 1)
        if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            raise invalid_header()
        return value
    digits = data.strip(b" \0").split(b"\0", 1)[0].rstrip(b" ")
    if not digits:
        return 0
    if not digits.isdigit():
        raise invalid_header()
    try:
        return int(digits, 8)
    except ValueError:
        raise invalid_header() from None


def pax_records(data: bytes) -> dict[bytes, bytes]:
    """The records of a pax extended header.

    Raises:
        InvalidParameterError: a record's length, form or content is not right.
    """
    records: dict[bytes, bytes] = {}
    sparse: list[bytes] = []
    position = 0
    while position < len(data):
        blank = data.find(b" ", position, position + 21)
        digits = data[position:blank] if blank > 0 else b""
        if not digits.isdigit():
            raise invalid_header()
        end = position + int(digits)
        if end > len(data) or end <= blank + 1 or data[end - 1 : end] != b"\n":
            raise invalid_header()
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if not equals or not key or b"\0" in key:
            raise invalid_header()
        if key in (b"path", b"linkpath", b"uname", b"gname") and b"\0" in value:
            raise invalid_header()
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            sparse.append(value)
        else:
            records[key] = value
        position = end
    if sparse:
        records[b"GNU.sparse.map"] = b",".join(sparse)
    return records


def decimal(data: bytes) -> int:
    """A whole number of a pax record, not negative."""
    if not data.isdigit() or len(data) > 20:
        raise invalid_header()
    return int(data)


def pax_time(data: bytes) -> int:
    """A pax time in nanoseconds since the epoch."""
    whole, _, fraction = data.partition(b".")
    negative = whole.startswith(b"-")
    digits = whole[1:] if negative else whole
    if not digits.isdigit() or len(digits) > 12 or (fraction and not fraction.isdigit()):
        raise invalid_header()
    value = int(digits) * 1_000_000_000 + int((fraction[:9] or b"0").ljust(9, b"0"))
    return -value if negative else value


class TarReader:
    """Members one after another. The caller consumes ``entry.size`` bytes of the stream, then asks for the next."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._padding = 0

    def next(self) -> Entry | None:
        """The next member, None at the archive's end.

        Raises:
            InvalidParameterError: the archive is malformed or ends too soon.
        """
        stream = self.stream
        if self._padding:
            # The last payload's padding may be missing at the very end.
            stream.take(self._padding)
            self._padding = 0
        pax: dict[bytes, bytes] = {}
        long_name = long_link = b""
        while True:
            header = stream.take(BLOCK)
            if not header:
                return None
            if len(header) != BLOCK:
                raise InvalidParameterError("unexpected EOF")
            if header == ZEROS:
                second = stream.take(BLOCK)
                if second and second != ZEROS:
                    raise invalid_header()
                return None
            checksum = number(header[148:156])
            if checksum != sum(header) - sum(header[148:156]) + 256 and checksum != signed_sum(header):
                raise invalid_header()
            kind = header[156:157]
            if kind == b"x":
                pax = pax_records(self._special(header))
            elif kind == b"L":
                long_name = text(self._special(header))
            elif kind == b"K":
                long_link = text(self._special(header))
            elif kind == GLOBAL:
                self._special(header)
            else:
                return self._entry(header, kind, pax, long_name, long_link)

    def _special(self, header: bytes) -> bytes:
        size = number(header[124:136])
        if not 0 <= size <= LONGEST_SPECIAL:
            raise invalid_header()
        data = self.stream.exactly(size)
        self.stream.exactly(-size % BLOCK)
        return data

    def _entry(self, header: bytes, kind: bytes, pax: dict[bytes, bytes], long_name: bytes, long_link: bytes) -> Entry:
        name = long_name or text(header[:100])
        if not long_name and header[257:263] == b"ustar\0":
            prefix = text(header[345:500])
            if prefix:
                name = prefix + b"/" + name
        entry = Entry(
            name=name,
            kind=REGULAR if kind in (b"\0", b"7", b"S") else kind,
            mode=number(header[100:108]) & 0o7777,
            uid=number(header[108:116]),
            gid=number(header[116:124]),
            size=number(header[124:136]),
            mtime=number(header[136:148]) * 1_000_000_000,
            link=long_link or text(header[157:257]),
        )
        if kind in (CHARACTER, BLOCK_DEVICE):
            entry.major, entry.minor = number(header[329:337]), number(header[337:345])
        if pax:
            self._apply(entry, pax)
        if entry.size < 0 or entry.uid < 0 or entry.gid < 0 or not entry.name:
            raise invalid_header()
        if entry.kind == REGULAR and entry.name.endswith(b"/") and kind in (b"\0", b"0"):
            entry.kind = DIRECTORY
        if entry.kind in PAYLOAD_FREE:
            entry.size = 0
        entry.real_size = entry.size
        self._padding = -entry.size % BLOCK
        if kind == b"S":
            self._gnu_sparse(entry, header)
        elif pax and entry.kind == REGULAR:
            self._pax_sparse(entry, pax)
        entry.name = clean(entry.name)
        return entry

    def _apply(self, entry: Entry, pax: dict[bytes, bytes]) -> None:
        # An empty value means that the record is deleted, so the header's own field counts.
        if value := pax.get(b"path"):
            entry.name = value
        if value := pax.get(b"linkpath"):
            entry.link = value
        if value := pax.get(b"size"):
            entry.size = decimal(value)
        if value := pax.get(b"uid"):
            entry.uid = decimal(value)
        if value := pax.get(b"gid"):
            entry.gid = decimal(value)
        if value := pax.get(b"mtime"):
            entry.mtime = pax_time(value)
        for key, value in pax.items():
            if key.startswith(XATTR_PREFIX):
                entry.xattrs[key[len(XATTR_PREFIX) :]] = value

    def _gnu_sparse(self, entry: Entry, header: bytes) -> None:
        pieces: list[tuple[int, int]] = []
        area, more, slots = header[386:482], header[482], 4
        while True:
            for slot in range(slots):
                offset, length = area[slot * 24 : slot * 24 + 12], area[slot * 24 + 12 : slot * 24 + 24]
                if offset[0] == 0 or length[0] == 0:
                    break
                pieces.append((number(offset), number(length)))
            if not more:
                break
            area = self.stream.exactly(BLOCK)
            more, slots = area[504], 21
            if len(pieces) > LONGEST_SPECIAL // 24:
                raise invalid_header()
        self._set_sparse(entry, pieces, number(header[483:495]))

    def _pax_sparse(self, entry: Entry, pax: dict[bytes, bytes]) -> None:
        if pax.get(b"GNU.sparse.major") == b"1" and pax.get(b"GNU.sparse.minor") == b"0":
            numbers = self._sparse_map(entry)
        elif b"GNU.sparse.map" in pax:
            fields = pax[b"GNU.sparse.map"].split(b",")
            numbers = [decimal(value) for value in fields if value]
        else:
            return
        if value := pax.get(b"GNU.sparse.name"):
            entry.name = value
        size = decimal(pax.get(b"GNU.sparse.realsize") or pax.get(b"GNU.sparse.size") or b"")
        if len(numbers) % 2:
            raise invalid_header()
        self._set_sparse(entry, list(zip(numbers[::2], numbers[1::2], strict=True)), size)

    def _sparse_map(self, entry: Entry) -> list[int]:
        # Version 1.0 puts the map in front of the content, padded to a block and counted in the size.
        data = b""
        while True:
            lines = data.split(b"\n")
            if len(lines) > 1 and len(lines) - 2 >= 2 * decimal(lines[0]):
                count = 2 * decimal(lines[0])
                return [decimal(line) for line in lines[1 : count + 1]]
            if entry.size < BLOCK or len(data) > LONGEST_SPECIAL:
                raise invalid_header()
            data += self.stream.exactly(BLOCK)
            entry.size -= BLOCK

    def _set_sparse(self, entry: Entry, pieces: list[tuple[int, int]], size: int) -> None:
        last = 0
        for offset, length in pieces:
            if offset < last or length < 0 or offset + length > size:
                raise invalid_header()
            last = offset + length
        if not 0 <= size <= LARGEST_NUMBER or sum(length for _, length in pieces) != entry.size:
            raise invalid_header()
        entry.sparse = pieces
        entry.real_size = size


def signed_sum(header: bytes) -> int:
    """The checksum as some old writers made it, bytes taken as signed."""
    return sum(byte - 256 if byte > 127 else byte for byte in header[:148] + header[156:]) + 256
