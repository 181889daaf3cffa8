"""Pulling from registries that behave and misbehave, with what a client gets to read."""

from __future__ import annotations

import base64
import concurrent.futures
import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.engine import Engine
from tests.support.fake_registry import FakeRegistry, Reply, errors
from tests.support.image_content import Content, digest_of, image, index, layer
from tests.support.registry import statuses

pytestmark = pytest.mark.host

BASE = layer({"base": b"from below"})
TOP = layer({"top": b"from above"})


@pytest.fixture
def registry(engine: Engine) -> Iterator[FakeRegistry]:
    server = FakeRegistry(engine.surroundings.socket())
    try:
        yield server
    finally:
        server.close()


def pull(engine: Engine, name: str, tag: str = "latest", query: str = "", **auth: str) -> tuple[int, list[Any]]:
    """The status and the lines (or the one error) of a pull."""
    headers = {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()} if auth else {}
    path = f"/images/create?fromImage={name}" + (f"&tag={tag}" if tag else "") + query
    answer = engine.request("POST", path, headers=headers)
    return answer.status, [json.loads(line) for line in answer.body.splitlines()]


def pulled(engine: Engine, name: str, tag: str = "latest", query: str = "", **auth: str) -> list[str]:
    """The lines of a pull that went well."""
    status, lines = pull(engine, name, tag, query, **auth)
    assert status == 200, lines
    assert "error" not in lines[-1], lines[-1]
    return statuses(lines)


def inspect(engine: Engine, name: str) -> Any:
    answer = engine.request("GET", f"/images/{name}/json")
    return answer.json() if answer.status == 200 else None


def short(content: Content, number: int) -> str:
    """The id by which the progress lines know a layer, from 1 up."""
    return digest_of(content.blobs[number]).removeprefix("sha256:")[:12]


def noise(size: int) -> bytes:
    """A layer that does not compress."""
    return layer({"noise": os.urandom(size)})


def test_a_pull_is_told_in_dockerds_lines(engine: Engine, registry: FakeRegistry) -> None:
    content = image([BASE])
    registry.add("team/app", "v1", content)
    name = f"{registry.address}/team/app"
    lines = pulled(engine, name, "v1")
    first = short(content, 1)
    assert [line for line in lines if "Waiting" not in line] == [
        "v1: Pulling from team/app",
        f"{first}: Pulling fs layer",
        f"{first}: Verifying Checksum",
        f"{first}: Download complete",
        f"{first}: Pull complete",
        f"Digest: {content.digest}",
        f"Status: Downloaded newer image for {name}:v1",
    ]
    found = inspect(engine, f"{name}:v1")
    assert found["Id"] == content.image_id
    assert found["RepoTags"] == [f"{name}:v1"]
    assert found["RepoDigests"] == [f"{name}@{content.digest}"]
    assert found["RootFS"]["Layers"] == [digest_of(BASE)]


def test_an_image_that_is_there_is_up_to_date(engine: Engine, registry: FakeRegistry) -> None:
    content = image([BASE])
    registry.add("app", "latest", content)
    name = f"{registry.address}/app"
    pulled(engine, name)
    assert pulled(engine, name) == [
        "latest: Pulling from app",
        f"Digest: {content.digest}",
        f"Status: Image is up to date for {name}:latest",
    ]
    assert len(registry.asked(digest_of(content.blobs[1]))) == 1


def test_a_layer_that_is_there_is_not_fetched_again(engine: Engine, registry: FakeRegistry) -> None:
    base, both = image([BASE]), image([BASE, TOP])
    registry.add("app", "base", base)
    registry.add("app", "both", both)
    pulled(engine, f"{registry.address}/app", "base")
    lines = pulled(engine, f"{registry.address}/app", "both")
    assert f"{short(both, 1)}: Already exists" in lines
    assert f"{short(both, 2)}: Pull complete" in lines
    assert len(registry.asked(digest_of(both.blobs[1]))) == 1


def test_layers_that_differ_only_in_what_is_below_both_come(engine: Engine, registry: FakeRegistry) -> None:
    content = image([BASE, TOP, BASE])
    registry.add("app", "latest", content)
    pulled(engine, f"{registry.address}/app")
    found = inspect(engine, f"{registry.address}/app")
    assert found["RootFS"]["Layers"] == [digest_of(BASE), digest_of(TOP), digest_of(BASE)]


@pytest.mark.parametrize("oci", [False, True], ids=["docker", "oci"])
def test_the_platform_decides_what_a_list_stands_for(engine: Engine, registry: FakeRegistry, oci: bool) -> None:
    amd, arm = image([BASE], oci=oci), image([TOP], oci=oci, architecture="arm64")
    content = index(arm, amd, oci=oci)
    registry.add("app", "latest", content)
    name = f"{registry.address}/app"
    lines = pulled(engine, name, query="&platform=linux/amd64")
    assert f"Digest: {content.digest}" in lines
    assert inspect(engine, name)["Id"] == amd.image_id
    assert pulled(engine, name, query="&platform=linux/arm64")[-1].endswith(f"Downloaded newer image for {name}:latest")
    assert inspect(engine, name)["Id"] == arm.image_id
    assert inspect(engine, name)["Architecture"] == "arm64"


def test_a_list_without_the_platform_is_told_so(engine: Engine, registry: FakeRegistry) -> None:
    registry.add("app", "latest", index(image([BASE], architecture="s390x")))
    _, lines = pull(engine, f"{registry.address}/app", query="&platform=linux/amd64")
    assert lines[-1]["error"] == "no matching manifest for linux/amd64 in the manifest list entries"
    assert inspect(engine, f"{registry.address}/app") is None


def test_an_image_can_be_pulled_by_its_digest(engine: Engine, registry: FakeRegistry) -> None:
    content = image([BASE])
    registry.add("app", "latest", content)
    name = f"{registry.address}/app"
    lines = pulled(engine, name, content.digest)
    assert lines[-1] == f"Status: Downloaded newer image for {name}@{content.digest}"
    found = inspect(engine, f"{name}@{content.digest}")
    assert (found["RepoTags"], found["RepoDigests"]) == ([], [f"{name}@{content.digest}"])
    engine.request("DELETE", f"/images/{found['Id']}?force=1")


def test_all_tags_of_a_repository_can_be_pulled(engine: Engine, registry: FakeRegistry) -> None:
    one, two = image([BASE]), image([TOP])
    registry.add("app", "one", one)
    registry.add("app", "two", two)
    name = f"{registry.address}/app"
    lines = pulled(engine, name, "")
    assert lines[-1] == f"Status: Downloaded newer image for {name}"
    assert inspect(engine, f"{name}:one")["Id"] == one.image_id
    assert inspect(engine, f"{name}:two")["Id"] == two.image_id


def test_a_tag_that_moved_is_pulled_anew(engine: Engine, registry: FakeRegistry) -> None:
    old, new = image([BASE]), image([TOP])
    name = f"{registry.address}/app"
    registry.add("app", "latest", old)
    pulled(engine, name)
    registry.add("app", "latest", new)
    assert pulled(engine, name)[-1] == f"Status: Downloaded newer image for {name}:latest"
    assert inspect(engine, name)["Id"] == new.image_id
    assert inspect(engine, old.image_id)["RepoTags"] == []
    engine.request("DELETE", f"/images/{old.image_id}?force=1")


def test_a_pull_is_an_event(engine: Engine, registry: FakeRegistry) -> None:
    registry.add("app", "latest", image([BASE], Labels={"colour": "green"}))
    name = f"{registry.address}/app"
    pulled(engine, name)
    answer = engine.request("GET", f"/events?since=1&until={time.time():.9f}&filters=" + '{"event":["pull"]}')
    event = json.loads(answer.body.splitlines()[-1])
    assert event["Actor"] == {"ID": f"{name}:latest", "Attributes": {"colour": "green", "name": name}}


def test_several_clients_share_one_download(engine: Engine, registry: FakeRegistry) -> None:
    content = image([noise(2_000_000)])
    registry.add("app", "latest", content)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(pulled, engine, f"{registry.address}/app") for _ in range(4)]
        ends = [one.result()[-1] for one in waiting]
    assert all(end.startswith("Status: ") for end in ends)
    assert len(registry.asked(digest_of(content.blobs[1]))) == 1


def test_credentials_open_a_private_repository(engine: Engine, registry: FakeRegistry) -> None:
    registry.add("app", "latest", image([BASE]))
    registry.token, registry.basic = "t0ken", ("kim", "secret")
    name = f"{registry.address}/app"
    status, lines = pull(engine, name, username="kim", password="wrong")
    assert status == 500
    assert lines == [
        {"message": f'Head "http://{name.replace("/", "/v2/")}/manifests/latest": unauthorized: '
                    "incorrect username or password"}
    ]  # fmt: skip
    assert pulled(engine, name, username="kim", password="secret")[-1].startswith("Status: Downloaded")


def test_an_image_that_is_not_there_is_not_found(engine: Engine, registry: FakeRegistry) -> None:
    status, lines = pull(engine, f"{registry.address}/app")
    expected = f"manifest for {registry.address}/app:latest not found: manifest unknown: manifest unknown"
    assert (status, lines) == (404, [{"message": expected}])


def test_an_image_that_may_not_be_seen_is_not_found(engine: Engine, registry: FakeRegistry) -> None:
    denial = errors("DENIED", "requested access to the resource is denied", [{"Action": "pull"}])
    registry.replies["/v2/app/manifests/latest"].append(Reply(403, denial))
    status, lines = pull(engine, f"{registry.address}/app")
    assert status == 404
    assert lines[0]["message"] == (
        f"pull access denied for {registry.address}/app, repository does not exist or may require 'docker login': "
        "denied: requested access to the resource is denied"
    )


def test_nobody_there_is_told_as_dockerd_tells_it(engine: Engine) -> None:
    status, lines = pull(engine, "127.0.0.1:9/app")
    expected = 'Get "http://127.0.0.1:9/v2/": dial tcp 127.0.0.1:9: connect: connection refused'
    assert (status, lines) == (500, [{"message": expected}])


def test_plain_http_is_not_spoken_to_a_registry_elsewhere(engine: Engine) -> None:
    status, lines = pull(engine, "10.98.0.1:9/app")
    expected = 'Get "https://10.98.0.1:9/v2/": dial tcp 10.98.0.1:9: connect: connection refused'
    assert (status, lines) == (500, [{"message": expected}])


def test_an_image_of_one_platform_is_taken_for_another_with_a_warning(engine: Engine, registry: FakeRegistry) -> None:
    registry.add("app", "latest", image([BASE]))
    name = f"{registry.address}/app"
    lines = pulled(engine, name, query="&platform=linux/arm64")
    assert lines[-2:] == [
        f"Status: Downloaded newer image for {name}:latest",
        f"WARNING: image with reference {name} was found but does not match the specified platform: "
        "wanted linux/arm64, actual: linux/amd64",
    ]


def test_a_repository_without_tags_is_up_to_date(engine: Engine, registry: FakeRegistry) -> None:
    name = f"{registry.address}/app"
    assert pulled(engine, name, "") == [f"Status: Image is up to date for {name}"]


def test_a_blob_that_the_registry_lost_is_told(engine: Engine, registry: FakeRegistry) -> None:
    content = image([layer({"lost": b"lost"})])
    registry.add("app", "latest", content)
    registry.replies[f"/v2/app/blobs/{digest_of(content.blobs[1])}"].append(Reply(404, errors("BLOB_UNKNOWN", "x")))
    _, lines = pull(engine, f"{registry.address}/app")
    assert lines[-1]["error"] == "unknown blob"


def test_scratch_is_no_image(engine: Engine) -> None:
    assert pull(engine, "scratch") == (403, [{"message": "'scratch' is a reserved name"}])


def test_a_malformed_platform_is_refused(engine: Engine) -> None:
    status, lines = pull(engine, "127.0.0.1:9/app", query="&platform=a/b/c/d")
    assert status == 400, lines
