"""Layers on disk: once, whole, given back byte for byte, and gone when nobody needs them."""

from __future__ import annotations

import asyncio
import errno
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controllers.archive.helper import Archiver
from controllers.archive.kernel import sync_file_system
from controllers.images import configuration, layers, references
from controllers.images.importing import import_tar
from controllers.images.layers import LayerStore, chain_id, chain_ids
from controllers.images.removal import Remover
from controllers.images.saving import tar_chunks
from controllers.images.service import ImageService
from controllers.layout import Layout
from store.errors import EngineError, InvalidParameterError
from store.store import Store
from tests.support.image_content import digest_of, layer


async def stream(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
        await asyncio.sleep(0)


def directories(images: ImageService) -> set[str]:
    return {path.name for path in images.layout.layers.iterdir()}


async def imported(images: ImageService, data: bytes, name: str = "x") -> str:
    return (await import_tar(images, stream(data), references.join(name, ""), architecture="amd64")).uid


def test_a_chain_id_depends_on_all_that_is_below() -> None:
    first, second = digest_of(b"1"), digest_of(b"2")
    assert chain_ids([first]) == (first,)
    assert chain_ids([first, second]) == (first, chain_id(first, second))
    assert chain_ids([first, second])[1] == digest_of(f"{first} {second}".encode())


async def test_a_layer_is_unpacked_under_its_digest_and_given_back_as_it_came(images: ImageService) -> None:
    data = layer({"a": b"1" * 5000, "b/c": b"2"}) + b"\0" * 4096
    await imported(images, data)
    (found,) = images._store.layers
    assert found.diff_id == found.uid == digest_of(data)
    assert (images.layers.path(found) / "b/c").read_bytes() == b"2"
    assert b"".join([chunk async for chunk in tar_chunks(images, found)]) == data


async def test_the_same_layer_is_stored_once(images: ImageService) -> None:
    data = layer({"a": b"1"})
    first, second = await imported(images, data, "one"), await imported(images, data, "two")
    assert first != second
    assert len(directories(images)) == len(images._store.layers) == 1


async def test_whiteouts_become_overlayfs_marks(images: ImageService) -> None:
    await imported(images, layer({"d/.wh.gone": b"", "e/.wh..wh..opq": b""}))
    (found,) = images._store.layers
    assert (images.layers.path(found) / "d/gone").is_char_device()
    assert not (images.layers.path(found) / "e/.wh..wh..opq").exists()


async def test_another_digest_than_promised_leaves_nothing(images: ImageService) -> None:
    with pytest.raises(InvalidParameterError, match="don't match image configuration"):
        await images.layers.add(stream(layer({"a": b"1"})), "", digest_of(b"other"))
    assert directories(images) == set()


@pytest.mark.parametrize("name", ["../escaped", "/../escaped", "a/../../escaped"])
async def test_a_tar_that_wants_out_leaves_nothing_outside(images: ImageService, tmp_path: Path, name: str) -> None:
    try:
        await imported(images, layer({name: b"1"}))
    except InvalidParameterError:
        assert directories(images) == set()
    found = await asyncio.to_thread(lambda: list(tmp_path.rglob("escaped")))
    assert all("diff" in path.parts for path in found)


async def test_a_broken_tar_leaves_nothing(images: ImageService) -> None:
    with pytest.raises(InvalidParameterError):
        await imported(images, layer({"a": b"1" * 5000})[:2000])
    assert directories(images) == set()
    assert len(images._store.images) == len(images._store.references) == 0


async def test_a_cancelled_import_leaves_nothing(images: ImageService) -> None:
    arrived = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield layer({"a": b"1"})[:700]
        arrived.set()
        await asyncio.Event().wait()

    work = asyncio.ensure_future(import_tar(images, endless(), None, architecture="amd64"))
    await arrived.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert directories(images) == set()


async def test_what_no_row_knows_is_removed_at_the_start(
    images: ImageService, store: Store, archiver: Archiver, tmp_path: Path
) -> None:
    await imported(images, layer({"a": b"1"}))
    kept = directories(images)
    (images.layout.layers / ".new-crashed" / "diff").mkdir(parents=True)
    (images.layout.layers / "0123" / "diff").mkdir(parents=True)
    await LayerStore(Layout(tmp_path / "data", tmp_path / "run"), store, archiver).collect()
    assert directories(images) == kept


async def test_a_damaged_layer_is_not_saved(images: ImageService) -> None:
    await imported(images, layer({"a": b"1" * 100}))
    (found,) = images._store.layers
    (images.layers.path(found) / "a").write_bytes(b"2" * 100)
    with pytest.raises(Exception, match="is damaged"):
        async for _ in tar_chunks(images, found):
            pass


async def test_a_layer_that_somebody_is_about_to_use_stays(images: ImageService, remover: Remover) -> None:
    await imported(images, layer({"a": b"1"}))
    (found,) = images._store.layers
    with images.layers.pinned([found.uid]):
        await remover.remove("x")
        assert images.layers.path(found).exists()
    await images.layers.remove([found])
    assert images.layers.path(found).exists(), "its row is still there"


async def test_imports_of_the_same_layer_at_once_agree(images: ImageService) -> None:
    data = layer({"a": b"1" * 50_000})
    uids = await asyncio.gather(*(imported(images, data, f"x{number}") for number in range(8)))
    assert len(set(uids)) == 8
    assert len(directories(images)) == 1
    (found,) = images._store.layers
    assert b"".join([chunk async for chunk in tar_chunks(images, found)]) == data


async def test_removals_and_imports_of_the_same_layer_never_leave_half_of_one(
    images: ImageService, remover: Remover
) -> None:
    data = layer({"a": b"1" * 50_000})

    async def come_and_go(name: str) -> None:
        for _ in range(5):
            await imported(images, data, name)
            await remover.remove(name)

    await asyncio.gather(*(come_and_go(f"x{number}") for number in range(4)))
    await imported(images, data, "last")
    (found,) = images._store.layers
    assert b"".join([chunk async for chunk in tar_chunks(images, found)]) == data
    await remover.remove("last")
    assert directories(images) == set()


def test_a_configuration_that_is_none_is_refused() -> None:
    for raw in (b"", b"{}", b"[]", b'{"rootfs":{"diff_ids":["x"]}}', b'{"rootfs":{"diff_ids":[]},"config":{"Env":1}}'):
        with pytest.raises(InvalidParameterError):
            configuration.parse(raw)


async def test_links_and_devices_come_back_as_they_were(images: ImageService) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for kind, name in (
            (tarfile.DIRTYPE, "d"),
            (tarfile.SYMTYPE, "s"),
            (tarfile.FIFOTYPE, "f"),
            (tarfile.CHRTYPE, "c"),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.devmajor, member.devminor = kind, "/etc/x", 1, 3
            member.pax_headers = {"comment": "é"}
            archive.addfile(member)
    await imported(images, buffer.getvalue())
    (found,) = images._store.layers
    assert b"".join([chunk async for chunk in tar_chunks(images, found)]) == buffer.getvalue()


async def test_a_layer_is_on_the_disk_under_its_name_before_its_row_says_so(
    images: ImageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Path, set[str], int]] = []

    def watched(path: Path) -> None:
        seen.append((path, directories(images), len(images._store.layers)))
        sync_file_system(path)

    monkeypatch.setattr(layers, "sync_file_system", watched)
    data = layer({"a": b"1"})
    await imported(images, data)
    assert seen == [(images.layout.layers, {layers.directory_name(digest_of(data))}, 0)]
    await imported(images, data, "again")
    assert len(seen) == 1


async def test_a_disk_that_fails_leaves_no_image(images: ImageService, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(layers, "sync_file_system", failing)
    with pytest.raises(EngineError, match="could not be written to disk: Input/output error"):
        await imported(images, layer({"a": b"1"}))
    assert not directories(images)
    assert not list(images._store.layers)
    assert not list(images._store.images)
