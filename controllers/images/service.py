"""Images for the rest of the engine: find, register, name, remove."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from msgspec.structs import replace as replaced

from controllers.archive.helper import Archiver
from controllers.images import references
from controllers.images.layers import LayerStore
from controllers.layout import Layout
from store.crashpoints import crashpoint
from store.errors import InvalidParameterError, NotFoundError
from store.objects import Event, Image, Layer, Meta, Reference
from store.objects.images import ImageStatus
from store.store import Store, Transaction

SHORTEST_ID = 1


class ImageService:
    """The images of one engine."""

    def __init__(self, layout: Layout, store: Store, archiver: Archiver) -> None:
        self._store = store
        self.layout = layout
        self.layers = LayerStore(layout, store, archiver)

    async def start(self) -> None:
        """Clear up after a crash; call before anything else."""
        await self.layers.collect()

    def find(self, text: str) -> Image | None:
        """An image by id, reference or beginning of an id. InvalidParameterError for what can be none of them."""
        images = self._store.images
        if references.SHA256.fullmatch(text):
            return _if_present(images.get(text))
        if references.IDENTIFIER.fullmatch(text):
            return _if_present(images.get("sha256:" + text))
        name = self.named(text)
        if name is not None:
            return images.get(self.holder(name))
        prefix = text.removeprefix("sha256:")
        if prefix and all(character in "0123456789abcdef" for character in prefix):
            matches = [image for image in images.by_prefix("sha256:" + prefix) if present(image)]
            if len(matches) == 1:
                return matches[0]
        return None

    def all(self) -> list[Image]:
        """The images that clients see."""
        return [image for image in self._store.images if present(image)]

    def named(self, text: str) -> references.Reference | None:
        """The name that a text is, if an image has it: not an id, nor the beginning of one. Errors as ``find``."""
        if text.startswith("sha256:") or references.IDENTIFIER.fullmatch(text):
            return None
        reference = references.parse(text).tagged()
        if reference.digest:
            reference = replace(reference, tag="")
        return reference if self.holder(reference) else None

    def get(self, text: str) -> Image:
        """As ``find``; NotFoundError in dockerd's words."""
        image = self.find(text)
        if image is None:
            raise NotFoundError(f"No such image: {self.display(text)}")
        return image

    def display(self, text: str) -> str:
        """A reference as dockerd shows it in messages: familiar, with its tag."""
        if references.IDENTIFIER.fullmatch(text):
            return "sha256:" + text
        if text.startswith("sha256:"):
            return text
        return references.parse(text).tagged().familiar

    def lowers(self, image: Image) -> list[Path]:
        """The directories of an image's layers, topmost first."""
        found = (self._store.layers.get(chain) for chain in reversed(image.spec.chain_ids))
        return [self.layers.path(layer) for layer in found if layer is not None]

    def names(self, uid: str) -> tuple[list[str], list[str]]:
        """The familiar tags and digests of an image, sorted."""
        tags: list[str] = []
        digests: list[str] = []
        for row in self._store.references.where("image", uid):
            reference = references.stored(row.name)
            (digests if reference.digest else tags).append(reference.familiar)
        return sorted(tags), sorted(digests)

    def holder(self, reference: references.Reference) -> str:
        """The id of the image that has this very name; empty when none has."""
        row = self._store.references.by_name(reference.full)
        return row.image if row is not None else ""

    def tags_of(self, repository: str) -> list[tuple[str, references.Reference]]:
        """The tags of a repository (its full name), each with its image's id."""
        found = []
        for row in self._store.references:
            reference = references.stored(row.name)
            if reference.name == repository and not reference.digest:
                found.append((row.image, reference))
        return found

    async def register(
        self,
        image: Image,
        layers: Sequence[Layer],
        names: Iterable[references.Reference],
        events: Iterable[Event] = (),
        *,
        tagged: bool = False,
    ) -> Image:
        """Commit an image with its layers and names at once, layers on disk; a tag that another image has moves.

        ``tagged`` notes the time of the tagging, as dockerd does for names given here, not for those that come along.
        """
        listed, told = list(names), list(events)
        await self.layers.persist(layers)

        def change(tx: Transaction) -> Image:
            for layer in layers:
                if tx.get(Layer, layer.uid) is None:
                    tx.insert(layer)
            known = tx.get(Image, image.uid)
            if known is None:
                known = tx.insert(image)
            elif not present(known):
                known = tx.update(known.with_meta(deletion_requested_at=None))
            for reference in listed:
                # A tag moves; a digest goes on to mean the image that was first pulled by it.
                if not reference.digest or tx.by_name(Reference, reference.full) is None:
                    name(tx, reference, known.uid)
            if tagged and listed:
                touch(tx, known.uid)
            for event in told:
                tx.emit(event)
            return tx.get(Image, known.uid) or known

        found = await self._store.commit(change)
        crashpoint("image.register.committed")
        return found

    async def tag(self, image: Image, reference: references.Reference, shown: str) -> None:
        """Give an image a name, told in the event as ``shown``. NotFoundError when the image has just gone."""

        def change(tx: Transaction) -> None:
            if _if_present(tx.get(Image, image.uid)) is None:
                raise NotFoundError(f"No such image: {image.uid}")
            name(tx, reference, image.uid)
            touch(tx, image.uid)
            tx.emit(image_event(image, "tag", shown))

        await self._store.commit(change)
        crashpoint("image.tag.committed")


def present(image: Image) -> bool:
    """Whether clients see the image: one that was removed may have to stay for a container."""
    return image.meta.deletion_requested_at is None


def _if_present(image: Image | None) -> Image | None:
    return image if image is not None and present(image) else None


def name(tx: Transaction, reference: references.Reference, image: str) -> None:
    """Have a reference mean an image from now on. InvalidParameterError for a tag that would read as a digest."""
    if reference.tag and reference.familiar_name == "sha256":
        raise InvalidParameterError("refusing to create an ambiguous tag using digest algorithm as name")
    row = tx.by_name(Reference, reference.full)
    if row is None:
        tx.insert(Reference(meta=Meta(uid=reference.full, name=reference.full), image=image))
    elif row.image != image:
        tx.update(replaced(row, image=image))


def touch(tx: Transaction, image: str) -> None:
    """Note that an image is being tagged now."""
    known = tx.get(Image, image)
    if known is not None:
        tx.update(replaced(known, status=ImageStatus(last_tagged_at=time.time_ns())))


def image_event(image: Image, action: str, shown: str = "") -> Event:
    """An event of an image: the actor is its id, the name what the action was about."""
    labels = image.spec.config.labels or {}
    return Event(type="image", action=action, actor=image.uid, attributes={**labels, "name": shown or image.uid})
