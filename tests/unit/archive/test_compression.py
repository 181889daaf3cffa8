"""Compressed streams are recognised, undone in bounded pieces, and never silently cut."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable

import pytest
import zstandard

from controllers.archive.compression import PIECE, open_uncompressed
from store.errors import InvalidParameterError
from tests.unit.archive.tars import chunks

DATA = os.urandom(600_000) + bytes(4_000_000)
KINDS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "bzip2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("size", [1, 65_536])
async def test_a_compressed_stream_is_undone(kind: str, size: int) -> None:
    data = DATA if size > 1 else DATA[:5000]
    packed = KINDS[kind](data[:1000]) + KINDS[kind](data[1000:])
    assert b"".join([piece async for piece in open_uncompressed(chunks(packed, size))]) == data


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_a_cut_stream_is_an_error(kind: str) -> None:
    packed = KINDS[kind](DATA)
    for length in (7, len(packed) // 2, len(packed) - 1):
        with pytest.raises(InvalidParameterError):
            assert [piece async for piece in open_uncompressed(chunks(packed[:length]))] == []


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
async def test_a_damaged_stream_is_an_error(kind: str) -> None:
    packed = bytearray(KINDS[kind](DATA))
    packed[len(packed) // 3] ^= 255
    with pytest.raises(InvalidParameterError):
        assert [piece async for piece in open_uncompressed(chunks(bytes(packed)))] == []


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_a_bomb_comes_out_in_pieces(kind: str) -> None:
    packed = KINDS[kind](bytes(300_000_000))
    total = largest = 0
    async for piece in open_uncompressed(chunks(packed)):
        total += len(piece)
        largest = max(largest, len(piece))
    assert total == 300_000_000
    assert largest <= (PIECE * 2 if kind != "zstd" else 64 << 20)


@pytest.mark.parametrize("data", [b"", b"x", b"\x1f\x8b", b"plain text", bytes(100_000)])
async def test_what_is_not_compressed_passes(data: bytes) -> None:
    assert b"".join([piece async for piece in open_uncompressed(chunks(data))]) == data
