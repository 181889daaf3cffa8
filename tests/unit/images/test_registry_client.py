"""The registry client against a registry that asks for credentials and cuts connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest

from controllers.images.registry.authentication import Credentials
from controllers.images.registry.client import RegistryClient
from controllers.images.registry.endpoints import Endpoint
from controllers.images.registry.failures import InterruptedDownloadError, RegistryError, UnreachableError
from store.errors import EngineError
from tests.support.fake_registry import FakeRegistry, Reply, errors
from tests.support.image_content import digest_of, image, layer

CONTENT = image([layer({"a": b"a" * 5000})])
BLOB = CONTENT.blobs[1]


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    server = FakeRegistry()
    server.add("x", "latest", CONTENT)
    try:
        yield server
    finally:
        server.close()


def client_of(registry: FakeRegistry, credentials: Credentials | None = None) -> RegistryClient:
    endpoint = Endpoint(f"http://{registry.address}", verified=False)
    return RegistryClient(endpoint, "x", credentials or Credentials(), "a test")


@pytest.fixture
async def client(registry: FakeRegistry) -> AsyncIterator[RegistryClient]:
    async with client_of(registry) as made:
        yield made


async def whole(client: RegistryClient, digest: str, offset: int = 0) -> tuple[int, bytes]:
    async with client.blob(digest, offset) as (start, chunks):
        return start, b"".join([chunk async for chunk in chunks])


async def test_a_manifest_comes_with_its_digest_and_type(client: RegistryClient) -> None:
    document = await client.manifest("latest")
    assert (document.data, document.digest, document.media_type) == (
        CONTENT.manifest,
        CONTENT.digest,
        CONTENT.media_type,
    )


async def test_a_manifest_that_is_not_what_its_digest_says_is_refused(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.replies[f"/v2/x/manifests/{CONTENT.digest}"].append(Reply(200, CONTENT.manifest + b" "))
    with pytest.raises(EngineError, match=f"manifest verification failed for digest {CONTENT.digest}"):
        await client.manifest(CONTENT.digest)


async def test_a_configuration_that_is_not_what_its_digest_says_is_refused(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    digest = digest_of(CONTENT.configuration)
    registry.replies[f"/v2/x/blobs/{digest}"].append(Reply(200, b"{}"))
    with pytest.raises(EngineError, match="verification failed"):
        await client.document(digest, 2)


async def test_an_endless_manifest_is_not_read_to_its_end(client: RegistryClient, registry: FakeRegistry) -> None:
    registry.replies["/v2/x/manifests/latest"].append(Reply(200, b" " * (5 << 20)))
    with pytest.raises(EngineError, match="more than"):
        await client.manifest("latest")


async def test_a_blob_continues_where_it_was_cut(client: RegistryClient, registry: FakeRegistry) -> None:
    digest = digest_of(BLOB)
    registry.cuts[digest] = [20]
    got = bytearray()

    async def first_try() -> None:
        async with client.blob(digest) as (_, chunks):
            async for chunk in chunks:
                got.extend(chunk)

    with pytest.raises(InterruptedDownloadError):
        await first_try()
    assert got == BLOB[:20]
    start, rest = await whole(client, digest, len(got))
    assert (start, bytes(got) + rest) == (20, BLOB)
    assert registry.requests[-1].headers["range"] == "bytes=20-"


async def test_a_registry_without_ranges_sends_all_again(client: RegistryClient, registry: FakeRegistry) -> None:
    registry.ranges = False
    assert await whole(client, digest_of(BLOB), 20) == (0, BLOB)


async def test_tags_are_collected_over_pages(client: RegistryClient, registry: FakeRegistry) -> None:
    first = Reply(200, json.dumps({"tags": ["a"]}).encode(), {"Link": '</v2/x/tags/list?last=a>; rel="next"'})
    registry.replies["/v2/x/tags/list"] += [first, Reply(200, json.dumps({"tags": ["b"]}).encode())]
    assert await client.tags() == ["a", "b"]


async def test_tags_do_not_go_on_at_another_host(client: RegistryClient, registry: FakeRegistry) -> None:
    link = '<http://169.254.169.254/v2/x/tags/list>; rel="next"'
    registry.replies["/v2/x/tags/list"].append(Reply(200, b'{"tags": []}', {"Link": link}))
    with pytest.raises(RegistryError, match="another host"):
        await client.tags()


async def test_basic_credentials_are_sent_when_asked_for(registry: FakeRegistry) -> None:
    registry.basic = ("kim", "secret")
    async with client_of(registry, Credentials(username="kim", password="secret")) as client:
        await client.ping()
        await client.manifest("latest")
    assert "authorization" not in registry.requests[0].headers


async def test_basic_without_credentials_fails_in_dockerds_words(registry: FakeRegistry) -> None:
    registry.basic = ("kim", "secret")
    async with client_of(registry) as client:
        await client.ping()
        with pytest.raises(RegistryError) as failure:
            await client.manifest("latest")
    assert str(failure.value) == f'Head "http://{registry.address}/v2/x/manifests/latest": no basic auth credentials'


async def test_a_token_is_fetched_once_with_the_scope_of_a_pull(registry: FakeRegistry) -> None:
    registry.token = "t0ken"
    async with client_of(registry) as client:
        await client.ping()
        await client.manifest("latest")
        await whole(client, digest_of(BLOB))
    (asked,) = registry.asked("/token")
    assert asked.query == {"scope": ["repository:x:pull"], "service": ["a test"]}
    assert "authorization" not in asked.headers


async def test_a_token_that_is_refused_is_fetched_anew(registry: FakeRegistry) -> None:
    registry.token = "first"
    async with client_of(registry) as client:
        await client.ping()
        await client.manifest("latest")
        registry.token = "second"
        await client.manifest("latest")
    assert len(registry.asked("/token")) == 2


async def test_an_identity_token_is_exchanged_by_a_form(registry: FakeRegistry) -> None:
    registry.token = "t0ken"
    async with client_of(registry, Credentials(identity_token="identity")) as client:
        await client.ping()
        await client.manifest("latest")
    (asked,) = registry.asked("/token")
    assert asked.method == "POST"
    assert b"grant_type=refresh_token" in asked.body
    assert b"refresh_token=identity" in asked.body


async def test_a_registry_token_is_used_as_it_is(registry: FakeRegistry) -> None:
    registry.token = "mine"
    async with client_of(registry, Credentials(registry_token="mine")) as client:
        await client.ping()
        await client.manifest("latest")
    assert not registry.asked("/token")


async def test_wrong_credentials_at_the_token_server_are_told(registry: FakeRegistry) -> None:
    registry.token, registry.basic = "t0ken", ("kim", "secret")
    async with client_of(registry, Credentials(username="kim", password="wrong")) as client:
        await client.ping()
        with pytest.raises(EngineError, match="unauthorized: incorrect username or password"):
            await client.manifest("latest")


async def test_credentials_do_not_follow_a_redirect_to_another_host(registry: FakeRegistry) -> None:
    other = FakeRegistry()
    try:
        other.add("x", "latest", CONTENT)
        registry.basic = ("kim", "secret")
        digest = digest_of(BLOB)
        async with client_of(registry, Credentials(username="kim", password="secret")) as client:
            await client.ping()
            location = {"Location": f"http://{other.address}/v2/x/blobs/{digest}"}
            registry.replies[f"/v2/x/blobs/{digest}"].append(Reply(307, b"", location))
            assert await whole(client, digest) == (0, BLOB)
        (followed,) = other.requests
        assert "authorization" not in followed.headers
    finally:
        other.close()


async def test_a_registrys_error_has_its_code(client: RegistryClient, registry: FakeRegistry) -> None:
    registry.replies["/v2/x/manifests/latest"].append(Reply(403, errors("DENIED", "no, not you", "because")))
    with pytest.raises(RegistryError) as failure:
        await client.manifest("latest")
    assert (failure.value.code, str(failure.value)) == ("DENIED", "denied: no, not you")


async def test_nobody_there_is_told_as_go_tells_it(registry: FakeRegistry) -> None:
    async with client_of(registry) as client:
        registry.close()
        with pytest.raises(UnreachableError) as failure:
            await client.ping()
    assert str(failure.value) == (
        f'Get "http://{registry.address}/v2/": dial tcp {registry.address}: connect: connection refused'
    )


async def test_cancelling_a_download_ends_it(client: RegistryClient) -> None:
    async with client.blob(digest_of(BLOB)) as (_, chunks):
        reading = asyncio.ensure_future(anext(aiter(chunks)))
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
