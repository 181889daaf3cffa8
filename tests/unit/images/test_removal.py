"""Who may lose what: names, images, layers, and the containers on them. Words are dockerd's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from controllers.images import references
from controllers.images.importing import import_tar
from controllers.images.removal import Remover
from controllers.images.service import ImageService
from store.errors import ConflictError, NotFoundError
from store.objects import Container, ContainerConfig, ContainerSpec, ContainerStatus, HostConfig, Image, Layer, Meta
from store.objects.containers import Phase
from store.store import Store
from tests.support.image_content import layer

CONTAINER = "c" * 64


async def image(images: ImageService, *names: str) -> Image:
    async def chunks() -> AsyncIterator[bytes]:
        yield layer({"a": names[0].encode()})

    made = await import_tar(images, chunks(), references.join(names[0], ""), architecture="amd64")
    for name in names[1:]:
        await images.tag(made, references.join(name, ""), name)
    return made


async def contain(store: Store, made: Image, phase: Phase) -> None:
    spec = ContainerSpec(config=ContainerConfig(), host=HostConfig(), image_id=made.uid, path="sh", args=())
    container = Container(meta=Meta(uid=CONTAINER, name="one"), spec=spec, status=ContainerStatus(phase=phase))
    await store.commit(lambda tx: tx.insert(container))


def short(made: Image) -> str:
    return made.uid.removeprefix("sha256:")[:12]


async def test_the_last_name_takes_the_image_and_its_layers(
    images: ImageService, remover: Remover, store: Store
) -> None:
    made = await image(images, "a", "b")
    directory = images.lowers(made)[0]
    assert (await remover.remove("a")).untagged == ["a:latest"]
    removed = await remover.remove("b")
    assert removed.untagged == ["b:latest"]
    assert removed.deleted == [made.uid, *made.spec.chain_ids]
    assert not directory.exists()
    assert len(store.images) == len(store.layers) == len(store.references) == 0


async def test_layers_that_another_image_needs_stay(images: ImageService, remover: Remover, store: Store) -> None:
    first = await image(images, "a")
    second = await images.register(
        first.with_meta(uid="sha256:" + "2" * 64, name="sha256:" + "2" * 64), [], [references.join("b", "")]
    )
    assert (await remover.remove("a")).deleted == [first.uid]
    assert images.lowers(second)[0].exists()


async def test_an_image_with_several_names_is_not_removed_by_its_id(images: ImageService, remover: Remover) -> None:
    made = await image(images, "a", "b")
    with pytest.raises(ConflictError) as refused:
        await remover.remove(short(made))
    assert str(refused.value) == (
        f"conflict: unable to delete {short(made)} (must be forced) - image is referenced in multiple repositories"
    )
    assert (await remover.remove(short(made), force=True)).untagged == ["a:latest", "b:latest"]


@pytest.mark.parametrize("force", [False, True])
async def test_an_image_of_a_running_container_stays(
    images: ImageService, remover: Remover, store: Store, force: bool
) -> None:
    made = await image(images, "a")
    await contain(store, made, "running")
    with pytest.raises(ConflictError) as refused:
        await remover.remove(short(made), force=force)
    assert str(refused.value) == (
        f"conflict: unable to delete {short(made)} (cannot be forced) - "
        f"image is being used by running container {CONTAINER[:12]}"
    )
    assert images.find("a") == made


async def test_the_last_name_of_a_used_image_has_to_be_forced(
    images: ImageService, remover: Remover, store: Store
) -> None:
    made = await image(images, "a")
    await contain(store, made, "running")
    with pytest.raises(ConflictError) as refused:
        await remover.remove("a")
    assert str(refused.value) == (
        'conflict: unable to remove repository reference "a" (must force) - '
        f"container {CONTAINER[:12]} is using its referenced image {short(made)}"
    )
    assert (await remover.remove("a", force=True)).untagged == ["a:latest"]
    assert images.get(made.uid) == store.images.get(made.uid)


async def test_a_removed_image_serves_its_stopped_container_and_goes_with_it(
    images: ImageService, remover: Remover, store: Store
) -> None:
    made = await image(images, "a")
    await contain(store, made, "exited")
    with pytest.raises(ConflictError, match="image is being used by stopped container"):
        await remover.remove(made.uid)
    assert (await remover.remove(made.uid, force=True)).deleted == [made.uid]
    assert images.find(made.uid) is None
    assert images.all() == []
    hidden = store.images.get(made.uid)
    assert hidden is not None
    assert images.lowers(hidden)[0].exists()
    await store.commit(lambda tx: tx.delete(Container, CONTAINER))
    await store.wait_for(Image, made.uid, lambda image: image is None, timeout=10)
    assert len(store.layers) == 0


async def test_an_image_that_comes_back_is_seen_again(images: ImageService, remover: Remover, store: Store) -> None:
    made = await image(images, "a")
    await contain(store, made, "exited")
    await remover.remove(made.uid, force=True)
    layers = list(store.layers)
    await images.register(made, layers, [references.join("a", "")])
    assert images.find("a") is not None
    await store.commit(lambda tx: tx.delete(Container, CONTAINER))
    await store.commit(lambda tx: None)
    assert images.find("a") is not None


async def test_prune_spares_what_is_used(images: ImageService, remover: Remover, store: Store) -> None:
    used, unused = await image(images, "a"), await image(images, "b")
    await contain(store, used, "exited")
    removed = await remover.prune(lambda _: True)
    assert removed.deleted[0] == unused.uid
    assert removed.freed == sum(layer.size for layer in removed.layers) > 0
    assert images.all() == [store.images.get(used.uid)]


async def test_what_is_not_there_is_not_found(remover: Remover) -> None:
    with pytest.raises(NotFoundError) as refused:
        await remover.remove("a/b")
    assert str(refused.value) == "No such image: a/b:latest"


async def test_two_removals_at_once_end_in_one(images: ImageService, remover: Remover) -> None:
    await image(images, "a")
    results = await asyncio.gather(*(remover.remove("a") for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(result, NotFoundError) for result in results) == 4


async def test_layers_of_no_image_go_at_the_start(images: ImageService, store: Store) -> None:
    await image(images, "a")
    orphan = Layer(meta=Meta(uid="sha256:" + "0" * 64, name="sha256:" + "0" * 64), diff_id="x", directory="0")
    await store.commit(lambda tx: tx.insert(orphan))
    await Remover(store, images).start()
    assert store.layers.get(orphan.uid) is None
    assert len(store.layers) == 1
