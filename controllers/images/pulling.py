"""``docker pull``: images from registries, with dockerd's progress lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from controllers.archive.compression import open_uncompressed
from controllers.images import configuration
from controllers.images.board import Board, Progress
from controllers.images.references import DEFAULT_REGISTRY, Reference
from controllers.images.registry import blobs, manifests, platforms
from controllers.images.registry.authentication import Credentials
from controllers.images.registry.blobs import Announce, Blobs
from controllers.images.registry.client import RegistryClient
from controllers.images.registry.endpoints import endpoints
from controllers.images.registry.failures import UnreachableError, translated
from controllers.images.registry.manifests import Descriptor, Index, Manifest
from controllers.images.registry.platforms import Platform
from controllers.images.service import ImageService
from controllers.images.transfers import Transfers
from controllers.layout import Layout
from store.crashpoints import crashpoint
from store.errors import EngineError, ForbiddenError
from store.objects import Event, Image, Layer
from store.store import Store

EXTRACTIONS_AT_ONCE = 2


@dataclass(frozen=True)
class _Pull:
    """One request."""

    reference: Reference
    platform: Platform
    asked_for_platform: bool
    board: Board


@dataclass(frozen=True)
class _Place:
    """Where a layer belongs: its chain id, the one below it, and its tar's digest."""

    chain: str
    parent: str
    diff_id: str


class Puller:
    """Pulls images. ``mirrors`` are URLs that stand in for Docker Hub; ``insecure`` hosts or networks lack true TLS."""

    def __init__(
        self,
        layout: Layout,
        store: Store,
        images: ImageService,
        *,
        mirrors: Sequence[str] = (),
        insecure: Sequence[str] = (),
        user_agent: str = "wharfinger",
    ) -> None:
        self._store = store
        self._images = images
        self.reach(mirrors=mirrors, insecure=insecure)
        self._agent = user_agent
        self._blobs = Blobs(layout)
        self._transfers = Transfers()
        self._extractions = asyncio.Semaphore(EXTRACTIONS_AT_ONCE)

    def reach(self, *, mirrors: Sequence[str], insecure: Sequence[str]) -> None:
        """Uses these mirrors and insecure registries from the next pull on."""
        self._mirrors = tuple(mirrors)
        self._insecure = tuple(insecure)

    async def start(self) -> None:
        """Clear up; call before the first pull."""
        await self._blobs.start()

    async def pull(
        self,
        reference: Reference,
        progress: Progress,
        *,
        all_tags: bool = False,
        platform: str = "",
        credentials: Credentials | None = None,
    ) -> None:
        """Pull one image, or with ``all_tags`` all of a repository (the reference's tag is not looked at then).

        Raises NotFoundError for what is not there or may not be seen, InvalidParameterError for a platform that is
        none, other EngineErrors for what went wrong. Cancelling it leaves downloads to be continued, and nothing else.
        """
        if (reference.registry, reference.path) == (DEFAULT_REGISTRY, "library/scratch"):
            raise ForbiddenError("'scratch' is a reserved name")
        wanted = platforms.parse(platform) if platform else platforms.local()
        if all_tags:
            reference = replace(reference, tag="", digest="")
        board = Board(progress)
        work = asyncio.ensure_future(
            self._pull(_Pull(reference, wanted, bool(platform), board), credentials or Credentials(), all_tags)
        )
        work.add_done_callback(lambda _: board.close())
        try:
            # The board ends with the work, or earlier when the client is gone.
            await board.drain()
            await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _pull(self, pull: _Pull, credentials: Credentials, all_tags: bool) -> None:
        reference = pull.reference
        failure: EngineError | None = None
        for endpoint in await endpoints(reference.registry, mirrors=self._mirrors, insecure=self._insecure):
            try:
                async with RegistryClient(endpoint, reference.path, credentials, self._agent) as client:
                    await client.ping()
                    await (self._pull_all(client, pull) if all_tags else self._pull_and_tell(client, pull))
                self._warn(pull)
                return
            except UnreachableError as error:
                failure = error
            except EngineError as error:
                if not endpoint.mirror:
                    raise translated(error, reference) from None
                failure = error
        raise failure or EngineError(f"no endpoint for {reference.registry}")

    async def _pull_all(self, client: RegistryClient, pull: _Pull) -> None:
        newer = False
        tags = await client.tags()
        for tag in tags:
            newer |= await self._pull_one(client, replace(pull, reference=replace(pull.reference, tag=tag)))
        _conclude(pull, pull.reference.familiar_name, newer)

    async def _pull_and_tell(self, client: RegistryClient, pull: _Pull) -> None:
        _conclude(pull, pull.reference.familiar, await self._pull_one(client, pull))

    def _warn(self, pull: _Pull) -> None:
        """An image of one platform is taken for any, but not without a word."""
        image = self._images.find(pull.reference.tagged().full)
        if image is None or not pull.asked_for_platform:
            return
        actual = Platform.normalised(image.spec.os, image.spec.architecture, image.spec.variant)
        if pull.platform.suited_by(actual) is None:
            words = (
                f"WARNING: image with reference {pull.reference.familiar_name} was found but does not match the "
                f"specified platform: wanted {pull.platform}, actual: {actual}"
            )
            pull.board.say({"status": words})

    async def _pull_one(self, client: RegistryClient, pull: _Pull) -> bool:
        """True when the reference means another image than before."""
        reference = pull.reference
        document = await client.manifest(reference.digest or reference.tag)
        parsed = manifests.parse(document.data, document.media_type)
        pull.board.say(
            {
                "status": f"Pulling from {reference.path}",
                "id": reference.familiar if reference.digest else reference.tag,
            }
        )
        names = [replace(reference, tag="", digest=document.digest)]
        if not reference.digest:
            names.append(reference)
        before = self._images.holder(names[-1])
        image = await self._image(client, parsed, pull, names)
        pull.board.say({"status": f"Digest: {document.digest}"})
        return image.uid != before

    async def _image(
        self, client: RegistryClient, parsed: Manifest | Index, pull: _Pull, names: list[Reference]
    ) -> Image:
        if isinstance(parsed, Index):
            document = await client.manifest(parsed.choose(pull.platform).digest)
            parsed = manifests.parse(document.data, document.media_type)
            if isinstance(parsed, Index):
                raise EngineError("an index may not stand in an index")
        elif pull.platform.os != "linux":
            raise EngineError("operating system is not supported")
        known = self._images.find(parsed.config.digest)
        if known is not None:
            raw = known.spec.raw_config.encode()
        else:
            raw = await client.document(parsed.config.digest, parsed.config.size)
        image = configuration.parse(raw)
        if image.spec.os not in ("", "linux"):
            raise EngineError(f'image operating system "{image.spec.os}" cannot be used on this platform')
        if len(image.spec.diff_ids) != len(parsed.layers):
            raise EngineError("layers from manifest don't match image configuration")
        unpacked: list[Layer] = []
        try:
            with self._images.layers.pinned(image.spec.chain_ids):
                layers = await self._layers(
                    client, image, parsed.layers, pull.board if known is None else None, unpacked
                )
                crashpoint("image.pull.unpacked")
                image = configuration.parse(raw, {layer.uid: layer.size for layer in layers})
                return await self._images.register(image, layers, names, [_event(image, pull.reference)])
        except BaseException:
            # Those that have a row by now, or that another pull wants, stay.
            with suppress(EngineError):
                await self._images.layers.remove(unpacked)
            raise

    async def _layers(
        self,
        client: RegistryClient,
        image: Image,
        descriptors: Sequence[Descriptor],
        shown: Board | None,
        unpacked: list[Layer],
    ) -> list[Layer]:
        """All layers of an image; the new ones are put into ``unpacked`` as they come.

        Without a board nothing is shown: an image that is known needs no fetching, unless it goes at this moment.
        """
        board = shown or Board(_Silence())
        parent = ""
        found: list[Layer] = []
        fetchers: list[Callable[[], Awaitable[Layer]]] = []
        for chain, diff_id, blob in zip(image.spec.chain_ids, image.spec.diff_ids, descriptors, strict=True):
            known = self._images.layers.find(chain)
            board.post(short(blob.digest), "Already exists" if known else "Pulling fs layer")
            if known is not None:
                found.append(known)
            else:
                fetchers.append(partial(self._fetch, client, blob, _Place(chain, parent, diff_id), board))
            parent = chain

        async def collect(fetch: Callable[[], Awaitable[Layer]]) -> None:
            unpacked.append(await fetch())

        async with _all_or_none() as group:
            for fetch in fetchers:
                group.append(asyncio.ensure_future(collect(fetch)))
        return found + unpacked

    async def _fetch(self, client: RegistryClient, blob: Descriptor, place: _Place, board: Board) -> Layer:
        async def work(announce: Announce) -> Layer:
            async with self._blobs.fetched(client, blob, announce) as path, self._extractions:
                chunks = blobs.read(path, lambda done: announce("Extracting", done, blob.size))
                layer = await self._images.layers.add(open_uncompressed(chunks), place.parent, place.diff_id)
            announce("Pull complete", 0, 0)
            return layer

        return await self._transfers.layer(place.chain, short(blob.digest), board, work)


class _Silence:
    """Progress that nobody reads."""

    async def line(self, value: Any) -> None:
        return None

    async def status(self, status: str, identity: str = "", current: int = 0, total: int = 0) -> None:
        return None


def _event(image: Image, reference: Reference) -> Event:
    """The event of a pull, whose actor is the reference."""
    attributes = {**(image.spec.config.labels or {}), "name": reference.familiar_name}
    return Event(type="image", action="pull", actor=reference.familiar, attributes=attributes)


@asynccontextmanager
async def _all_or_none() -> AsyncIterator[list[asyncio.Future[None]]]:
    """Waits for the tasks that are put into the list; the first failure ends them all and is raised as it is."""
    tasks: list[asyncio.Future[None]] = []
    try:
        yield tasks
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def short(digest: str) -> str:
    """The twelve characters by which clients know a layer."""
    return digest.removeprefix("sha256:")[:12]


def _conclude(pull: _Pull, shown: str, newer: bool) -> None:
    words = "Downloaded newer image for" if newer else "Image is up to date for"
    pull.board.say({"status": f"Status: {words} {shown}"})
