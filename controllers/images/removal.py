"""Taking names from images, and images away, with dockerd's rules about who may lose what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from controllers.images import references
from controllers.images.service import ImageService, image_event, present
from store.crashpoints import crashpoint
from store.errors import ConflictError, NotFoundError
from store.objects import Container, Event, Image, Layer, Reference
from store.store import Change, Store, Transaction


@dataclass
class Removed:
    """What was taken: names, image ids and layers' chain ids, in order, and the bytes freed."""

    untagged: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)

    @property
    def freed(self) -> int:
        """Bytes."""
        return sum(layer.size for layer in self.layers)


class Remover:
    """Removes images and their names."""

    def __init__(self, store: Store, images: ImageService) -> None:
        self._store = store
        self._images = images
        self._unwatch: Callable[[], None] = lambda: None
        self._reaping: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        """Let go of images that were removed while containers stood on them, now and whenever such a container goes.

        Layers of no image go too: one that was wanted by a pull while its image was removed outlives a pull that fails.
        """
        for image in list(self._store.images):
            await self._reap(image.uid)
        await self._finish(await self._store.commit(self._forget_unused))
        self._unwatch = self._store.on_change(Container, self._container_changed)

    async def stop(self) -> None:
        """Watch no more."""
        self._unwatch()
        await asyncio.gather(*self._reaping, return_exceptions=True)

    def _container_changed(self, change: Change[Container]) -> None:
        if change.after is not None or change.before is None:
            return
        task = asyncio.ensure_future(self._reap(change.before.spec.image_id))
        self._reaping.add(task)
        task.add_done_callback(self._reaping.discard)

    async def _reap(self, uid: str) -> None:
        image = self._store.images.get(uid)
        if image is not None and not present(image):
            await self._finish(await self._store.commit(partial(self._forget, uid=uid)))

    @staticmethod
    def _forget_unused(tx: Transaction) -> Removed:
        removed = Removed()
        used = {chain for image in tx.all(Image) for chain in image.spec.chain_ids}
        for layer in tx.all(Layer):
            if layer.uid not in used:
                tx.delete(Layer, layer.uid)
                removed.layers.append(layer)
        return removed

    def _forget(self, tx: Transaction, uid: str) -> Removed:
        removed = Removed()
        image = tx.get(Image, uid)
        if image is not None and not present(image) and not tx.where(Container, "image", uid):
            self._take_away(tx, image, removed)
        return removed

    async def remove(self, text: str, *, force: bool = False) -> Removed:
        """Take a name, or an image with all its names. NotFoundError, ConflictError in dockerd's words."""
        image = self._images.get(text)
        reference = self._images.named(text)
        removed = await self._store.commit(lambda tx: self._change(tx, image, reference, force, text))
        await self._finish(removed)
        return removed

    async def prune(self, wanted: Callable[[Image], bool]) -> Removed:
        """Remove the images that ``wanted`` likes and no container uses."""
        everything = Removed()
        for image in self._images.all():
            if not wanted(image) or self._store.containers.where("image", image.uid):
                continue
            try:
                names = {row.name for row in self._store.references.where("image", image.uid)}
                removed = await self._store.commit(partial(self._prune_one, image=image, names=names))
            except (ConflictError, NotFoundError):
                continue
            await self._finish(removed)
            everything.untagged += removed.untagged
            everything.deleted += removed.deleted
            everything.layers += removed.layers
        return everything

    def _prune_one(self, tx: Transaction, image: Image, names: set[str]) -> Removed:
        """Nothing that was named or used since it was judged."""
        if tx.where(Container, "image", image.uid) or names != {
            r.name for r in tx.where(Reference, "image", image.uid)
        }:
            raise ConflictError(f"image {image.uid} is in use")
        return self._change(tx, image, None, True, image.uid)

    async def _finish(self, removed: Removed) -> None:
        crashpoint("image.remove.committed")
        await self._images.layers.remove(removed.layers)

    def _change(
        self, tx: Transaction, image: Image, reference: references.Reference | None, force: bool, text: str
    ) -> Removed:
        removed = Removed()
        current = tx.get(Image, image.uid)
        if current is None or not present(current):
            raise NotFoundError(f"No such image: {image.uid}")
        rows = tx.where(Reference, "image", image.uid)
        users = tx.where(Container, "image", image.uid)
        short = image.uid.removeprefix("sha256:")[:12]
        if reference is not None:
            tags = [row for row in rows if not references.stored(row.name).digest]
            last = len(tags) <= 1
            if last and users and not force:
                raise ConflictError(
                    f'conflict: unable to remove repository reference "{text}" (must force) - '
                    f"container {users[0].uid[:12]} is using its referenced image {short}"
                )
            taken = [row for row in rows if row.name == reference.full]
            if not taken:
                raise NotFoundError(f"No such image: {reference.familiar}")
            if last:
                # Digests of the same repository go with its last tag.
                taken = rows
            self._untag(tx, image, taken, removed)
            if not last or any(user.running for user in users):
                return removed
        else:
            self._check_whole(rows, users, short, force)
            self._untag(tx, image, rows, removed)
        self._delete(tx, image, removed)
        return removed

    def _check_whole(self, rows: list[Reference], users: list[Container], short: str, force: bool) -> None:
        running = next((user for user in users if user.running), None)
        if running is not None:
            raise ConflictError(
                f"conflict: unable to delete {short} (cannot be forced) - image is being used by running container "
                f"{running.uid[:12]}"
            )
        if force:
            return
        repositories = {references.stored(row.name).name for row in rows}
        if len(repositories) > 1 or sum(not references.stored(row.name).digest for row in rows) > 1:
            raise ConflictError(
                f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
            )
        if users:
            raise ConflictError(
                f"conflict: unable to delete {short} (must be forced) - image is being used by stopped container "
                f"{users[0].uid[:12]}"
            )

    def _untag(self, tx: Transaction, image: Image, rows: list[Reference], removed: Removed) -> None:
        for row in sorted(rows, key=lambda row: row.name):
            shown = references.stored(row.name).familiar
            tx.delete(Reference, row.uid)
            tx.emit(image_event(image, "untag", image.uid))
            removed.untagged.append(shown)

    def _delete(self, tx: Transaction, image: Image, removed: Removed) -> None:
        # What is gone has no labels any more.
        tx.emit(Event(type="image", action="delete", actor=image.uid, attributes={"name": image.uid}))
        removed.deleted.append(image.uid)
        if tx.where(Container, "image", image.uid):
            # Clients see it no more, but a stopped container still stands on its layers: it goes with the last such.
            current = tx.get(Image, image.uid) or image
            tx.update(current.with_meta(deletion_requested_at=time.time_ns()))
        else:
            self._take_away(tx, image, removed)

    def _take_away(self, tx: Transaction, image: Image, removed: Removed) -> None:
        tx.delete(Image, image.uid)
        used = {chain for other in tx.all(Image) for chain in other.spec.chain_ids}
        for chain in reversed(image.spec.chain_ids):
            layer = tx.get(Layer, chain)
            if layer is not None and chain not in used and not self._images.layers.is_pinned(chain):
                tx.delete(Layer, chain)
                removed.layers.append(layer)
                removed.deleted.append(chain)
