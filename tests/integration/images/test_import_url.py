"""``docker import URL``: the daemon downloads, and says so as dockerd does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.daemon import Daemon
from tests.support.engine import Engine
from tests.support.fake_registry import FakeRegistry, Reply
from tests.support.image_content import compressed, layer

pytestmark = pytest.mark.host

TAR = layer({"hello": b"from the web" * 50_000})


@pytest.fixture
def web(daemon: Daemon) -> Iterator[FakeRegistry]:
    """A web server on the daemon's loopback: its ``replies`` are what it has."""
    server = FakeRegistry(daemon.surroundings.socket())
    try:
        yield server
    finally:
        server.close()


def imported(daemon: Daemon, source: str, query: str = "") -> tuple[int, list[Any]]:
    """The status and the lines (or the one error) of an import."""
    answer = daemon.request("POST", f"/images/create?fromSrc={quote(source, safe='')}{query}")
    return answer.status, [json.loads(line) for line in answer.body.splitlines()]


@pytest.mark.parametrize("body", [TAR, compressed(TAR)], ids=["plain", "gzip"])
def test_a_tar_from_the_web_becomes_an_image(daemon: Daemon, web: FakeRegistry, body: bytes) -> None:
    web.replies["/root.tar"] = [Reply(200, body)]
    url = f"http://{web.address}/root.tar"
    status, lines = imported(daemon, url, "&repo=web&tag=one&changes=ENV+a%3Db")
    assert status == 200
    assert lines[0] == {"status": f"Downloading from {url}"}
    assert lines[-2]["status"] == "Importing"
    assert lines[-2]["progressDetail"] == {"current": len(body), "total": len(body)}
    image = daemon.request("GET", "/images/web:one/json").json()
    assert lines[-1] == {"status": image["Id"]}
    assert (image["Comment"], image["Config"]["Env"]) == (f"Imported from {url}", ["a=b"])


def test_a_source_without_a_scheme_is_on_the_web(daemon: Daemon, web: FakeRegistry) -> None:
    web.replies["/root.tar"] = [Reply(200, TAR)]
    _, lines = imported(daemon, f"{web.address}/root.tar")
    assert lines[0] == {"status": f"Downloading from http://{web.address}/root.tar"}
    assert lines[-1]["status"].startswith("sha256:")


def test_the_command_line_shows_the_download(daemon: Daemon, web: FakeRegistry) -> None:
    web.replies["/root.tar"] = [Reply(200, TAR)]
    output = daemon.docker("import", f"http://{web.address}/root.tar", "web:cli")
    assert output.out.startswith(f"Downloading from http://{web.address}/root.tar\n")
    assert output.out.splitlines()[-1].startswith("sha256:")


@pytest.mark.parametrize(("code", "status"), [(404, 404), (403, 403), (400, 400), (401, 401), (500, 500), (503, 500)])
def test_what_the_server_refuses_is_refused(daemon: Daemon, web: FakeRegistry, code: int, status: int) -> None:
    web.replies["/no"] = [Reply(code, b"  not today\n")]
    answer, lines = imported(daemon, f"http://{web.address}/no")
    assert answer == status
    assert lines[0]["message"].startswith(f"failed to GET http://{web.address}/no with status {code} ")
    assert lines[0]["message"].endswith(": not today")


def test_a_download_that_breaks_leaves_nothing(daemon: Daemon, web: FakeRegistry) -> None:
    before = daemon.request("GET", "/images/json?all=1").json()
    web.replies["/root.tar"] = [Reply(200, TAR, cut=200_000)]
    status, lines = imported(daemon, f"http://{web.address}/root.tar", "&repo=web")
    assert status == 200
    assert "unexpected EOF" in lines[-1]["error"]
    assert daemon.request("GET", "/images/json?all=1").json() == before


def test_what_is_no_tar_leaves_nothing(daemon: Daemon, web: FakeRegistry) -> None:
    web.replies["/root.tar"] = [Reply(200, b"no tar")]
    status, lines = imported(daemon, f"http://{web.address}/root.tar", "&repo=web")
    assert status == 200
    assert "error" in lines[-1]
    assert daemon.request("GET", "/images/web/json").status == 404


def test_nothing_is_downloaded_for_a_request_that_cannot_be(daemon: Daemon, web: FakeRegistry) -> None:
    for query in ("&repo=UPPER", "&changes=NONSENSE+x"):
        status, _ = imported(daemon, f"http://{web.address}/root.tar", query)
        assert status == 400
    assert web.requests == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("ftp://127.0.0.1/x", 'Get "ftp://127.0.0.1/x": unsupported protocol scheme "ftp"'),
        ("/etc/passwd", 'Get "http:///etc/passwd": http: no Host in request URL'),
        ("", 'Get "http:": http: no Host in request URL'),
        ("http://127.0.0.1:9/x", 'Get "http://127.0.0.1:9/x": dial tcp 127.0.0.1:9: connect: connection refused'),
    ],
)
def test_what_cannot_be_asked_for_is_told_in_dockerds_words(daemon: Daemon, source: str, words: str) -> None:
    status, lines = imported(daemon, source)
    assert lines == [{"message": words}]
    # What no server could answer is the client's mistake: dockerd calls it its own.
    assert status == (500 if daemon.name == "peer" or "refused" in words else 400)


def test_a_server_that_leads_in_circles_is_left(engine: Engine) -> None:
    server = FakeRegistry(engine.surroundings.socket())
    try:
        server.replies["/loop"] = [Reply(302, b"", {"Location": "/loop"}) for _ in range(30)]
        status, lines = imported(engine, f"http://{server.address}/loop")
        assert status == 500
        assert lines == [{"message": f'Get "http://{server.address}/loop": stopped after 10 redirects'}]
        assert len(server.requests) <= 11
        server.replies["/away"] = [Reply(302, b"", {"Location": "file:///etc/passwd"})]
        status, lines = imported(engine, f"http://{server.address}/away")
        assert status == 500
        assert lines == [{"message": f'Get "http://{server.address}/away": unsupported protocol scheme "file"'}]
    finally:
        server.close()
