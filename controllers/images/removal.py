"""Taking names from images, and images away, with dockerd's rules about who may lose what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from controllers.images import references
from controllers.images.service import ImageService, image_event
from store.crashpoints import crashpoint
from store.errors import ConflictError, NotFoundError
from store.objects import Container, Image, Layer, Reference
from store.store import Store, Transaction


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

    async def remove(self, text: str, *, force: bool = False) -> Removed:
        """Take a name, or an image with all its names. NotFoundError, ConflictError in dockerd's words."""
        image = self._images.get(text)
        by_id = image.uid.removeprefix("sha256:").startswith(text.removeprefix("sha256:"))
        reference = None if by_id else references.parse(text).tagged()
        removed = await self._store.commit(lambda tx: self._change(tx, image, reference, force, text))
        await self._finish(removed)
        return removed

    async def prune(self, wanted: Callable[[Image], bool]) -> Removed:
        """Remove the images that ``wanted`` likes and no container uses."""
        everything = Removed()
        for image in list(self._store.images):
            if not wanted(image) or self._store.containers.where("image", image.uid):
                continue
            try:
                removed = await self._store.commit(
                    partial(self._change, image=image, reference=None, force=True, text=image.uid)
                )
            except (ConflictError, NotFoundError):
                continue
            await self._finish(removed)
            everything.untagged += removed.untagged
            everything.deleted += removed.deleted
            everything.layers += removed.layers
        return everything

    async def _finish(self, removed: Removed) -> None:
        crashpoint("image.remove.committed")
        await self._images.layers.remove(removed.layers)

    def _change(
        self, tx: Transaction, image: Image, reference: references.Reference | None, force: bool, text: str
    ) -> Removed:
        removed = Removed()
        if tx.get(Image, image.uid) is None:
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
            if last:
                # Digests of the same repository go with its last tag.
                taken = rows
            self._untag(tx, image, taken, removed)
            if not last or users:
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
        if tx.where(Container, "image", image.uid):
            # A forced removal leaves what a stopped container stands on.
            return
        tx.delete(Image, image.uid)
        tx.emit(image_event(image, "delete"))
        removed.deleted.append(image.uid)
        used = {chain for other in tx.all(Image) for chain in other.spec.chain_ids}
        for chain in reversed(image.spec.chain_ids):
            layer = tx.get(Layer, chain)
            if layer is not None and chain not in used and not self._images.layers.is_pinned(chain):
                tx.delete(Layer, chain)
                removed.layers.append(layer)
                removed.deleted.append(chain)
