"""Pulls that break off, and registries that lie: what is verified, what is kept, what is left behind."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.engine import Engine
from tests.support.fake_registry import FakeRegistry, Reply, Request
from tests.support.image_content import Content, digest_of, image, layer
from tests.support.registry import statuses

pytestmark = pytest.mark.host


@pytest.fixture
def registry(engine: Engine) -> Iterator[FakeRegistry]:
    yield from serving(engine)


def serving(engine: Engine) -> Iterator[FakeRegistry]:
    server = FakeRegistry(engine.surroundings.socket())
    try:
        yield server
    finally:
        server.close()


def large() -> Content:
    """An image of one layer that does not compress."""
    return image([layer({"noise": os.urandom(3_000_000)})])


def pull(engine: Engine, registry: FakeRegistry) -> list[Any]:
    answer = engine.request("POST", f"/images/create?fromImage={registry.address}/app&tag=latest")
    return [json.loads(line) for line in answer.body.splitlines()]


def image_of(engine: Engine, registry: FakeRegistry) -> str | None:
    answer = engine.request("GET", f"/images/{registry.address}/app/json")
    return str(answer.json()["Id"]) if answer.status == 200 else None


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that has to come."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def downloads(engine: Engine) -> dict[str, int]:
    """The files of downloads, with their sizes."""
    return {path.name: path.stat().st_size for path in engine.layout.downloads.glob("*")}


def layers(engine: Engine) -> set[str]:
    return {path.name for path in engine.layout.layers.iterdir()}


def test_a_download_that_is_cut_goes_on(engine: Engine, registry: FakeRegistry) -> None:
    content = large()
    registry.add("app", "latest", content)
    digest = digest_of(content.blobs[1])
    registry.cuts[digest] = [1_500_000]
    lines = statuses(pull(engine, registry))
    assert lines[-1].startswith("Status: Downloaded"), lines
    assert any("Retrying in 1 second" in line for line in lines)
    assert image_of(engine, registry) == content.image_id
    first, second = registry.asked(digest)
    assert "range" not in first.headers
    assert 0 < offset(second) <= 1_500_000
    assert digest.removeprefix("sha256:") not in downloads(engine)


def offset(request: Request) -> int:
    """From where on a request wants a blob."""
    return int(request.headers["range"].removeprefix("bytes=").removesuffix("-"))


def test_a_pull_whose_client_left_is_continued_by_the_next(engine: Engine, registry: FakeRegistry) -> None:
    content = large()
    registry.add("app", "latest", content)
    digest = digest_of(content.blobs[1])
    registry.cuts[digest] = [1_500_000, *[0] * 100]
    leaving = _begin(engine, f"/images/create?fromImage={registry.address}/app&tag=latest")
    until(lambda: len(registry.asked(digest)) == 2)
    leaving.close()
    kept = offset(registry.asked(digest)[1])
    assert downloads(engine)[digest.removeprefix("sha256:")] == kept > 0
    registry.cuts[digest] = []
    assert statuses(pull(engine, registry))[-1].startswith("Status: Downloaded")
    assert offset(registry.asked(digest)[-1]) == kept
    assert image_of(engine, registry) == content.image_id


def _begin(engine: Engine, path: str) -> socket.socket:
    """Send a request and do not wait for its answer."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(engine.socket_path))
    connection.sendall(f"POST {path} HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n".encode())
    return connection


@pytest.mark.parametrize("point", ["image.pull.downloaded", "image.layer.unpacked", "image.layer.renamed"])
def test_a_pull_that_a_crash_ended_continues_without_fetching_again(private_engine: Engine, point: str) -> None:
    engine = private_engine
    with contextlib.contextmanager(serving)(engine) as registry:
        content = large()
        registry.add("app", "latest", content)
        engine.stop()
        engine.start(WHARFINGER_CRASH_AT=point)
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            pull(engine, registry)
        engine.wait_ended()
        before = layers(engine)
        engine.start()
        assert not {name for name in layers(engine) if name.startswith(".")}
        assert len(layers(engine)) <= len(before)
        assert statuses(pull(engine, registry))[-1].startswith("Status: Downloaded")
        assert image_of(engine, registry) == content.image_id
        assert len(registry.asked(digest_of(content.blobs[1]))) == 1


def test_a_blob_that_is_not_what_its_digest_says_is_refused_and_forgotten(
    engine: Engine, registry: FakeRegistry
) -> None:
    content = large()
    registry.add("app", "latest", content)
    digest = digest_of(content.blobs[1])
    wrong = bytearray(content.blobs[1])
    wrong[1000] ^= 1
    registry.replies[f"/v2/app/blobs/{digest}"].append(Reply(200, bytes(wrong)))
    before = layers(engine)
    assert pull(engine, registry)[-1]["error"] == f"filesystem layer verification failed for digest {digest}"
    assert (image_of(engine, registry), layers(engine)) == (None, before)
    assert digest.removeprefix("sha256:") not in downloads(engine)
    assert statuses(pull(engine, registry))[-1].startswith("Status: Downloaded")


@pytest.mark.parametrize("kept", [1_000_000, 100_000_000])
def test_a_part_that_a_power_cut_has_emptied_is_fetched_again(
    engine: Engine, registry: FakeRegistry, kept: int
) -> None:
    content = large()
    registry.add("app", "latest", content)
    digest = digest_of(content.blobs[1])
    engine.layout.downloads.mkdir(exist_ok=True)
    with (engine.layout.downloads / digest.removeprefix("sha256:")).open("wb") as file:
        file.truncate(kept)
    assert statuses(pull(engine, registry))[-1].startswith("Status: Downloaded")
    assert image_of(engine, registry) == content.image_id


def test_a_blob_longer_than_announced_is_not_read_to_its_end(engine: Engine, registry: FakeRegistry) -> None:
    content = large()
    registry.add("app", "latest", content)
    digest = digest_of(content.blobs[1])
    registry.replies[f"/v2/app/blobs/{digest}"].append(Reply(200, content.blobs[1] + b"x" * 1_000_000))
    assert pull(engine, registry)[-1]["error"] == f"filesystem layer verification failed for digest {digest}"
    assert downloads(engine).get(digest.removeprefix("sha256:"), 0) <= len(content.blobs[1])


def test_layers_that_the_configuration_does_not_know_are_refused(engine: Engine, registry: FakeRegistry) -> None:
    tar = layer({"a": b"a"})
    registry.add("app", "latest", image([tar], diff_ids=["sha256:" + "0" * 64]))
    before = layers(engine)
    assert "layers from manifest don't match image configuration" in pull(engine, registry)[-1]["error"]
    assert (image_of(engine, registry), layers(engine)) == (None, before)


def test_an_image_of_which_one_layer_fails_leaves_nothing(engine: Engine, registry: FakeRegistry) -> None:
    content = image([layer({"good": b"a"}), layer({"bad": b"b"})])
    registry.add("app", "latest", content)
    registry.replies[f"/v2/app/blobs/{digest_of(content.blobs[2])}"] += [Reply(404, b"{}")]
    before = layers(engine)
    assert "error" in pull(engine, registry)[-1]
    assert (image_of(engine, registry), layers(engine)) == (None, before)


@pytest.mark.parametrize("name", ["../../../../escaped", "/../../escaped", "a/../../../escaped"])
def test_a_layer_writes_nowhere_but_into_itself(engine: Engine, registry: FakeRegistry, name: str) -> None:
    registry.add("app", "latest", image([layer({name: b"gotcha"})]))
    pull(engine, registry)
    found = [path for path in engine.data_root.rglob("escaped") if "diff" not in path.parts]
    assert not found
    assert not (engine.directory / "escaped").exists()


def test_an_image_for_another_system_is_refused(engine: Engine, registry: FakeRegistry) -> None:
    registry.add("app", "latest", image([layer({"a": b"a"})], system="windows"))
    assert "windows" in pull(engine, registry)[-1]["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"schemaVersion":1}', b'{"schemaVersion":2,"config":1}'])
def test_a_manifest_that_is_none_is_an_error_and_no_more(engine: Engine, registry: FakeRegistry, body: bytes) -> None:
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    registry.replies["/v2/app/manifests/latest"].append(Reply(200, body, {"Content-Type": media_type}))
    answer = engine.request("POST", f"/images/create?fromImage={registry.address}/app&tag=latest")
    assert 400 <= answer.status < 600
    assert answer.json()["message"]


def test_a_slow_client_holds_nobody_up(engine: Engine, registry: FakeRegistry) -> None:
    many = image([layer({f"file{number}": os.urandom(200_000)}) for number in range(20)])
    registry.add("app", "latest", many)
    stuck = [_begin(engine, f"/images/create?fromImage={registry.address}/app&tag=latest") for _ in range(3)]
    try:
        done = threading.Event()

        def other() -> None:
            assert statuses(pull(engine, registry))[-1].startswith("Status: ")
            done.set()

        thread = threading.Thread(target=other)
        thread.start()
        thread.join(60)
        assert done.is_set()
    finally:
        for connection in stuck:
            connection.close()
