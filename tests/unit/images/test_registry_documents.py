"""Manifests, platforms, endpoints, challenges and refusals: what a registry may say, and what we make of it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.images import references
from controllers.images.registry import manifests, platforms
from controllers.images.registry.authentication import parse_challenges
from controllers.images.registry.endpoints import Endpoint, endpoints
from controllers.images.registry.failures import refusal, translated
from controllers.images.registry.platforms import Platform
from store.errors import EngineError, InvalidParameterError, NotFoundError
from tests.support.image_content import image, index, layer

IMAGE = image([layer({"a": b"a"})])
DIGEST = "sha256:" + "a" * 64


WORDS = ("schemaVersion", "config", "layers", "manifests", "mediaType", "digest", "size")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(WORDS), inner),
)


@given(VALUES, st.sampled_from(["", *manifests.ACCEPTED]))
def test_whatever_a_registry_sends_as_a_manifest_is_an_engines_error_at_most(value: Any, media_type: str) -> None:
    with contextlib.suppress(EngineError):
        manifests.parse(json.dumps(value).encode(), media_type)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schemaVersion": 1}, "unsupported manifest schema version 1"),
        ({"mediaType": ""}, "mediaType in manifest should be"),
        ({"config": None}, "it has no configuration"),
        ({"config": {"digest": "sha256:../../x", "size": 1}}, "unsupported digest"),
        ({"config": {"digest": DIGEST, "size": -1}}, "invalid size"),
        ({"layers": [{"digest": DIGEST, "size": 1}] * 1000}, "more than"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why(change: dict[str, Any], message: str) -> None:
    document = json.loads(IMAGE.manifest) | change
    with pytest.raises(EngineError, match=message):
        manifests.parse(json.dumps(document).encode(), IMAGE.media_type)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [("linux/arm64", "arm64"), ("linux/amd64", "amd64"), ("linux/arm/v7", "v6"), ("aarch64", "arm64")],
)
def test_the_best_entry_of_a_list_is_chosen(wanted: str, chosen: str) -> None:
    offers = {
        "amd64": image([], architecture="amd64"),
        "v6": image([], architecture="arm", variant="v6"),
        "v5": image([], architecture="arm", variant="v5"),
        "arm64": image([], architecture="arm64", variant="v8"),
    }
    content = index(*offers.values())
    parsed = manifests.parse(content.manifest, content.media_type)
    assert isinstance(parsed, manifests.Index)
    assert parsed.choose(platforms.parse(wanted)).digest == offers[chosen].digest


def test_an_entry_without_a_platform_is_never_chosen() -> None:
    content = index(image([], architecture="arm64"))
    document = json.loads(content.manifest)
    del document["manifests"][0]["platform"]
    parsed = manifests.parse(json.dumps(document).encode(), content.media_type)
    assert isinstance(parsed, manifests.Index)
    with pytest.raises(EngineError, match="no matching manifest for linux/amd64 in the manifest list entries"):
        parsed.choose(Platform("linux", "amd64"))


@pytest.mark.parametrize("text", ["linux/amd64/v1/x", "linux/a b", "foo", "linux//v8", "linux/"])
def test_a_platform_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError):
        platforms.parse(text)


@pytest.mark.parametrize("registry", ["localhost:5000", "127.0.0.1", "127.4.5.6:80", "registry.test:5000", "10.1.2.3"])
async def test_an_insecure_registry_is_tried_with_tls_first_and_then_without(registry: str) -> None:
    insecure = ["registry.test:5000", "10.0.0.0/8"]
    assert await endpoints(registry, insecure=insecure) == [
        Endpoint(f"https://{registry}", verified=False),
        Endpoint(f"http://{registry}", verified=False),
    ]


async def test_a_registry_elsewhere_has_to_be_trusted() -> None:
    assert await endpoints("192.0.2.1:5000", insecure=["10.0.0.0/8"]) == [Endpoint("https://192.0.2.1:5000")]


async def test_mirrors_are_for_docker_hub_alone_and_come_first() -> None:
    mirrors = ["http://127.0.0.1:5000/", "https://192.0.2.1"]
    assert await endpoints("docker.io", mirrors=mirrors) == [
        Endpoint("http://127.0.0.1:5000", verified=False, mirror=True),
        Endpoint("https://192.0.2.1", mirror=True),
        Endpoint("https://registry-1.docker.io"),
    ]
    assert await endpoints("192.0.2.9", mirrors=mirrors) == [Endpoint("https://192.0.2.9")]


def test_challenges_are_read_with_their_quotes_and_commas() -> None:
    header = r'Bearer realm="https://auth/token?a=b,c",service="a \"quoted\" one",scope=plain'
    assert parse_challenges([header, "Basic realm=x"]) == [
        ("bearer", {"realm": "https://auth/token?a=b,c", "service": 'a "quoted" one', "scope": "plain"}),
        ("basic", {"realm": "x"}),
    ]


@given(st.integers(400, 599), st.text(), st.binary())
def test_any_refusal_becomes_an_error_with_words(status: int, reason: str, body: bytes) -> None:
    assert str(translated(refusal(status, reason, body, []), references.parse("x:1")))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("MANIFEST_UNKNOWN", "manifest for x:1 not found: manifest unknown: gone"),
        ("NAME_UNKNOWN", "repository x not found: name unknown: gone"),
        (
            "DENIED",
            "pull access denied for x, repository does not exist or may require 'docker login': denied: gone",
        ),
    ],
)
def test_what_is_not_there_or_not_to_be_seen_is_not_found(code: str, message: str) -> None:
    body = json.dumps({"errors": [{"code": code, "message": "gone"}]}).encode()
    error = translated(refusal(404, "Not Found", body, []), references.parse("x:1"))
    assert (type(error), str(error)) == (NotFoundError, message)


@pytest.mark.parametrize("text", ["a" * 200 + "!", "a-" * 100 + "!", "a." * 100 + "/!", "x:" + "a" * 200 + "!"])
def test_a_long_name_that_is_none_is_refused_at_once(text: str) -> None:
    with pytest.raises(InvalidParameterError):
        references.parse(text)
