"""Over TCP: web pages of others, names that merely resolve to us, and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from apiserver.config import ConfigError, Settings
from apiserver.server import Server
from tests.unit.apiserver.frame.certificates import Authority, Issued

if TYPE_CHECKING:
    from tests.unit.apiserver.frame.conftest import Client, Starter

HTTP = {"schemes": ("unix", "http"), "host": "127.0.0.1"}


@pytest.fixture
async def both(start: Starter) -> Client:
    """A client of a server on a unix socket (0) and on TCP (1)."""
    return await start(**HTTP)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", "", "["]
)
async def test_a_foreign_name_is_refused_over_tcp(both: Client, host: str) -> None:
    assert (await both.ask("GET", "/things/a", host=host, index=1)).status in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "localhost:80", "127.0.0.1:2375", "[::1]:80", "192.0.2.7", "LOCALHOST."])
async def test_an_address_or_a_name_of_ours_is_taken(both: Client, host: str) -> None:
    assert (await both.ask("GET", "/things/a", host=host, index=1)).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:81", "https://localhost.evil"])
async def test_a_page_of_another_site_is_refused_over_tcp(both: Client, origin: str) -> None:
    reply = await both.ask("GET", "/things/a", headers=[f"Origin: {origin}"], host="localhost:80", index=1)
    assert (reply.status, reply.message) == (403, "cross-site requests are refused")


async def test_a_cross_site_fetch_without_an_origin_is_refused(both: Client) -> None:
    reply = await both.ask("GET", "/things/a", headers=["Sec-Fetch-Site: cross-site"], host="localhost", index=1)
    assert reply.status == 403


async def test_our_own_page_may_ask(both: Client) -> None:
    headers = ["Origin: http://localhost:80"]
    assert (await both.ask("GET", "/things/a", headers=headers, host="localhost:80", index=1)).status == 200


async def test_a_unix_socket_takes_any_name(both: Client) -> None:
    for host in ("docker", "%2Fvar%2Frun%2Fdocker.sock", "evil.example"):
        assert (await both.ask("GET", "/things/a", host=host, index=0)).status == 200


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def secure(authority: Authority, server: Issued, *, mutual: bool) -> dict[str, object]:
    return {
        "schemes": ("https",),
        "host": "127.0.0.1",
        "tls_certificate": server.certificate,
        "tls_key": server.key,
        "tls_ca": authority.path if mutual else None,
    }


async def ask_securely(client: Client, authority: Authority, own: Issued | None, host: str = "localhost") -> bytes:
    context = ssl.create_default_context(cafile=str(authority.path))
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    port = client.server.listeners[0].endpoint.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(f"GET /things/a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()


async def test_https_is_verified_by_the_client(start: Starter, authority: Authority) -> None:
    client = await start(**secure(authority, authority.issue("server"), mutual=False))
    assert b" 200 OK" in await ask_securely(client, authority, None)


async def test_with_an_authority_a_client_must_show_a_certificate_of_it(
    start: Starter, authority: Authority, tmp_path: Path
) -> None:
    client = await start(**secure(authority, authority.issue("server"), mutual=True))
    assert b" 200 OK" in await ask_securely(client, authority, authority.issue("client"))
    for stranger in (None, Authority(tmp_path, "other").issue("stranger")):
        answer = b""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            answer = await ask_securely(client, authority, stranger)
        assert answer == b""


async def test_a_name_may_be_foreign_where_the_client_is_known(start: Starter, authority: Authority) -> None:
    client = await start(**secure(authority, authority.issue("server"), mutual=True))
    assert b" 200 OK" in await ask_securely(client, authority, authority.issue("client"), host="engine.example")
    client = await start(**secure(authority, authority.issue("server"), mutual=False))
    assert b" 403 " in await ask_securely(client, authority, None, host="engine.example")


def test_files_that_are_no_certificates_are_refused_in_a_line(tmp_path: Path, authority: Authority) -> None:
    bad = tmp_path / "bad"
    bad.write_text("no certificate")
    good = authority.issue("server")
    for certificate, key, ca in (
        (bad, good.key, None),
        (good.certificate, bad, None),
        (good.certificate, good.key, bad),
        (tmp_path / "missing", good.key, None),
    ):
        settings = Settings(schemes=("https",), host="127.0.0.1", tls_certificate=certificate, tls_key=key, tls_ca=ca)
        with pytest.raises(ConfigError, match="TLS certificate, key or authority cannot be used"):
            Server(settings).listen()


async def test_new_certificates_are_used_after_a_reload(start: Starter, authority: Authority, tmp_path: Path) -> None:
    server = authority.issue("server")
    client = await start(**secure(authority, server, mutual=False))
    other = Authority(tmp_path, "other")
    renewed = other.issue("server")
    assert renewed == server
    client.server.reload_certificates()
    assert b" 200 OK" in await ask_securely(client, other, None)
    server.certificate.write_text("broken")
    with pytest.raises(ConfigError):
        client.server.reload_certificates()
    assert b" 200 OK" in await ask_securely(client, other, None)


async def test_over_tls_megabytes_pass_both_ways_whole(start: Starter, authority: Authority) -> None:
    client = await start(**secure(authority, authority.issue("server"), mutual=False))
    context = ssl.create_default_context(cafile=str(authority.path))
    port = client.server.listeners[0].endpoint.port
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    writer.write(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    sent = 5_000_000
    sending = asyncio.create_task(_send(writer, b"a" * sent))
    received = 0
    while received < sent:
        received += (await asyncio.wait_for(reader.read(65536), 20)).count(b"a")
    await sending
    assert received == sent
    writer.close()


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def test_over_tls_what_follows_a_clients_farewell_still_arrives(start: Starter, authority: Authority) -> None:
    client = await start(**secure(authority, authority.issue("server"), mutual=False))
    context = ssl.create_default_context(cafile=str(authority.path))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    reader, writer = await asyncio.open_connection("127.0.0.1", client.server.listeners[0].endpoint.port)

    async def exchange() -> bool:
        writer.write(outgoing.read())
        data = await asyncio.wait_for(reader.read(65536), 20)
        incoming.write(data)
        return bool(data)

    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            await exchange()
    tls.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nabc")
    with contextlib.suppress(ssl.SSLError):
        tls.unwrap()
    received = b""
    while await exchange():
        # After its own farewell OpenSSL reads no more, so what came is known by its size alone.
        received += incoming.read()
    # The head, the echo of what was sent and the handler's last word: more than an empty farewell.
    assert len(received) > 250
    writer.close()
