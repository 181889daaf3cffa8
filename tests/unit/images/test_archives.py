"""``save`` and ``load``: what goes out comes in again, and archives are not trusted."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from controllers.archive.helper import Archiver
from controllers.images import references
from controllers.images.importing import import_tar
from controllers.images.loading import Loaded, load
from controllers.images.removal import Remover
from controllers.images.saving import resolve, save
from controllers.images.service import ImageService
from store.errors import EngineError, InvalidParameterError, NotFoundError
from store.store import Store
from tests.support.image_content import compressed, digest_of, image, layer

LAYERS = (layer({"a": b"1" * 3000}), layer({"b": b"2", ".wh.a": b""}))
CONTENT = image(LAYERS)


def docker_archive(*, layers: tuple[bytes, ...] = LAYERS, **changes: Any) -> dict[str, bytes]:
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": ["x:1"], "Layers": names, **changes}]
    files = {"manifest.json": json.dumps(manifest).encode(), "config.json": CONTENT.configuration}
    return {**files, **dict(zip(names, layers, strict=True))}


def oci_archive() -> dict[str, bytes]:
    index = {
        "schemaVersion": 2,
        "manifests": [{"digest": CONTENT.digest, "annotations": {"org.opencontainers.image.ref.name": "x:1"}}],
    }
    blobs = {f"blobs/sha256/{digest_of(data)[7:]}": data for data in (CONTENT.manifest, *CONTENT.blobs)}
    return {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode(), **blobs}


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 10_000):
        yield data[start : start + 10_000]


class Loader:
    """Loads archives, noting which layers were new."""

    def __init__(self, images: ImageService, archiver: Archiver) -> None:
        self.images, self.archiver = images, archiver
        self.told: list[str] = []

    async def _told(self, diff_id: str, current: int, total: int) -> None:
        if current == total:
            self.told.append(diff_id)

    async def raw(self, data: bytes) -> list[Loaded]:
        return await load(self.images, self.archiver, chunks(data), self._told)

    async def files(self, files: Mapping[str, bytes]) -> list[Loaded]:
        return await self.raw(layer(files))


@pytest.fixture
def loader(images: ImageService, archiver: Archiver) -> Loader:
    return Loader(images, archiver)


async def saved(images: ImageService, *names: str) -> bytes:
    return b"".join([chunk async for chunk in save(images, resolve(images, names))])


@pytest.mark.parametrize("files", [docker_archive(), oci_archive()], ids=["docker", "oci"])
async def test_an_archive_becomes_an_image(loader: Loader, store: Store, files: dict[str, bytes]) -> None:
    (loaded,) = await loader.files(files)
    assert loaded.image.uid == CONTENT.image_id
    assert [name.familiar for name in loaded.names] == ["x:1"]
    assert loader.told == [digest_of(data) for data in LAYERS]
    assert len(store.layers) == 2


async def test_an_archive_may_be_compressed(loader: Loader) -> None:
    assert (await loader.raw(compressed(layer(docker_archive()))))[0].image.uid == CONTENT.image_id


async def test_loading_again_unpacks_nothing(loader: Loader) -> None:
    await loader.files(docker_archive())
    loader.told.clear()
    await loader.files(oci_archive())
    assert loader.told == []


async def test_a_saved_image_can_be_loaded_elsewhere(loader: Loader, remover: Remover, store: Store) -> None:
    await loader.files(docker_archive())
    data = await saved(loader.images, "x:1")
    await remover.remove("x:1")
    assert len(store.layers) == 0
    (loaded,) = await loader.raw(data)
    assert loaded.image.uid == CONTENT.image_id
    assert await saved(loader.images, "x:1") == data


async def test_the_layers_of_a_saved_image_have_their_digests(loader: Loader) -> None:
    await loader.files(docker_archive())
    with tarfile.open(fileobj=io.BytesIO(await saved(loader.images, "x:1"))) as archive:
        (entry,) = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        found = [digest_of(archive.extractfile(name).read()) for name in entry["Layers"]]  # type: ignore[union-attr]
        names = json.load(archive.extractfile("repositories"))  # type: ignore[arg-type]
    assert found == [digest_of(data) for data in LAYERS]
    assert entry["RepoTags"] == ["x:1"]
    assert list(names["x"]) == ["1"]


async def test_several_images_share_their_layers_in_an_archive(loader: Loader) -> None:
    await loader.files(docker_archive())
    other = await import_tar(loader.images, chunks(LAYERS[0]), references.join("y", ""), architecture="amd64")
    with tarfile.open(fileobj=io.BytesIO(await saved(loader.images, "x", "y", other.uid))) as archive:
        names = archive.getnames()
    assert len(names) == len(set(names))
    assert sum(name.endswith("layer.tar") for name in names) == 2


async def test_a_name_that_moves_is_told(loader: Loader) -> None:
    other = await import_tar(loader.images, chunks(LAYERS[0]), references.join("x", "1"), architecture="amd64")
    (loaded,) = await loader.files(docker_archive())
    assert [(name.familiar, uid) for name, uid in loaded.replaced] == [("x:1", other.uid)]


async def test_saving_what_is_not_there_is_refused(images: ImageService) -> None:
    with pytest.raises(NotFoundError) as refused:
        resolve(images, ["nope"])
    assert str(refused.value) == "No such image: nope"


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"manifest.json": b"junk"},
        {"manifest.json": b"{}"},
        {"manifest.json": b'[{"Config":"nope"}]'},
        {"manifest.json": b'[{"Config":"../../etc/passwd"}]'},
        {"index.json": b'{"manifests":[{"digest":"../x"}]}'},
        {"index.json": b'{"manifests":[{"digest":"sha256:' + b"0" * 64 + b'"}]}'},
        docker_archive(Layers=["0/layer.tar"]),
        docker_archive(Layers=["0/layer.tar", "nope"]),
        docker_archive(Layers=["0/layer.tar", "0/layer.tar"]),
        docker_archive(Layers=["0/layer.tar", "/etc/passwd"]),
        docker_archive(RepoTags=["UPPER"]),
        {**docker_archive(), "1/layer.tar": b"junk"},
    ],
)
async def test_a_broken_archive_is_refused_and_leaves_nothing(
    loader: Loader, store: Store, files: dict[str, bytes]
) -> None:
    with pytest.raises(EngineError):
        await loader.files(files)
    assert len(store.images) == len(store.layers) == len(store.references) == 0
    assert list(loader.images.layout.layers.iterdir()) == []


async def test_a_link_in_an_archive_leads_nowhere_outside(loader: Loader) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("manifest.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(InvalidParameterError):
        await loader.raw(buffer.getvalue())


async def test_an_index_that_names_itself_ends(loader: Loader) -> None:
    name = "sha256:" + "1" * 64
    index = json.dumps({"manifests": [{"digest": name}]}).encode()
    assert await loader.files({"index.json": index, f"blobs/sha256/{'1' * 64}": index}) == []


async def test_of_several_platforms_this_machines_is_loaded(loader: Loader) -> None:
    files = oci_archive()
    index = json.loads(files["index.json"])
    foreign = {"digest": "sha256:" + "0" * 64, "platform": {"os": "plan9", "architecture": "mips"}}
    index["manifests"].insert(0, foreign)
    (loaded,) = await loader.files({**files, "index.json": json.dumps(index).encode()})
    assert loaded.image.uid == CONTENT.image_id


async def test_an_archive_that_ends_early_is_refused(loader: Loader, store: Store) -> None:
    with pytest.raises(InvalidParameterError):
        await loader.raw(layer(docker_archive())[:5000])
    assert len(store.images) == 0
