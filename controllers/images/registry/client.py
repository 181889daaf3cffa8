"""A client of one repository at one endpoint (distribution-spec: pull, listing tags)."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin, urlsplit

import msgspec

from controllers.images.registry.authentication import Answer, Authenticator, Credentials, parse_challenges
from controllers.images.registry.endpoints import Endpoint, split_port, tls
from controllers.images.registry.failures import InterruptedDownloadError, RegistryError, UnreachableError, refusal
from controllers.images.registry.manifests import ACCEPTED
from store.errors import EngineError

if TYPE_CHECKING:
    import aiohttp

CONNECT_TIMEOUT = 30.0
SILENCE_TIMEOUT = 60.0
LARGEST_DOCUMENT = 4 << 20
MOST_TAGS = 100_000
MOST_PAGES = 1000
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')


@dataclass(frozen=True)
class Document:
    """A manifest or index as it came: its bytes, their digest, and the content type that the registry claims."""

    data: bytes
    digest: str
    media_type: str


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class RegistryClient:
    """Use it as an asynchronous context manager. Errors are EngineErrors in dockerd's words."""

    def __init__(self, endpoint: Endpoint, repository: str, credentials: Credentials, user_agent: str) -> None:
        self.endpoint = endpoint
        self._base = f"{endpoint.url}/v2/{repository}"
        self._authenticator = Authenticator(repository, credentials, self._token)
        self._agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        import aiohttp

        context = await asyncio.to_thread(tls, self.endpoint)
        loopback = split_port(self.endpoint.host) in ("localhost", "127.0.0.1", "::1")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=SILENCE_TIMEOUT),
            headers={"User-Agent": self._agent, "Accept-Encoding": "identity"},
            # Blobs are bytes with a digest: nothing may be undone on the way.
            auto_decompress=False,
            trust_env=not loopback,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ping(self) -> None:
        """See whether there is a registry, and what authentication it wants. UnreachableError when there is none."""
        url = f"{self.endpoint.url}/v2/"
        async with self._exchange("GET", url) as response:
            await self._read(response, LARGEST_DOCUMENT)
            if response.status == 401:
                self._authenticator.challenged(parse_challenges(response.headers.getall("WWW-Authenticate", [])))

    async def manifest(self, what: str) -> Document:
        """A manifest or index by tag or digest; what came by digest has it."""
        by_digest = ":" in what
        url = f"{self._base}/manifests/{what}"
        headers = {"Accept": ", ".join(ACCEPTED)}
        async with self._answered(url, headers, "Get" if by_digest else "Head") as response:
            data = await self._read(response, LARGEST_DOCUMENT)
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if by_digest and digest != what:
            raise EngineError(f"manifest verification failed for digest {what}")
        return Document(data, digest, media_type)

    async def tags(self) -> list[str]:
        """All tags of the repository."""
        found: list[str] = []
        url = f"{self._base}/tags/list"
        for _ in range(MOST_PAGES):
            async with self._answered(url, {}, "Get") as response:
                data = await self._read(response, LARGEST_DOCUMENT)
                link = _NEXT.search(response.headers.get("Link", ""))
            try:
                found += msgspec.json.decode(data, type=_Tags).tags or []
            except (msgspec.MsgspecError, RecursionError) as error:
                raise RegistryError(f"invalid list of tags: {error}") from None
            if link is None or len(found) > MOST_TAGS:
                return found
            following = urljoin(url, link[1])
            if urlsplit(following)[:2] != urlsplit(url)[:2]:
                raise RegistryError("the list of tags goes on at another host")
            url = following
        return found

    async def document(self, digest: str, size: int) -> bytes:
        """A small blob, verified."""
        if size > LARGEST_DOCUMENT:
            raise EngineError(f"blob {digest} of {size} bytes is too large for a configuration")
        async with self.blob(digest) as (_, chunks):
            data = b"".join([chunk async for chunk in _limited(chunks, LARGEST_DOCUMENT)])
        if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            raise EngineError(f"image config verification failed for digest {digest}")
        return data

    @asynccontextmanager
    async def blob(self, digest: str, offset: int = 0) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """A blob from ``offset`` on, if the registry can: yields where it really starts, and the chunks.

        Raises InterruptedDownloadError when the connection breaks in the middle.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self._answered(f"{self._base}/blobs/{digest}", headers, "Get", allowed=(404, 416)) as response:
            if response.status == 404:
                raise RegistryError("unknown blob")
            if response.status == 416:
                yield -1, _nothing()
                return
            start = 0
            if response.status == 206:
                claimed = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
                start = int(claimed[1]) if claimed else -1
            yield start, self._chunks(response)

    async def _chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        import aiohttp

        try:
            async for chunk in response.content.iter_chunked(1 << 18):
                yield chunk
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise InterruptedDownloadError(f"unexpected EOF: {error}" if str(error) else "unexpected EOF") from None

    @asynccontextmanager
    async def _answered(
        self, url: str, headers: Mapping[str, str], word: str, *, allowed: tuple[int, ...] = ()
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A request with authentication; a token that has run out is renewed once."""
        for last in (False, True):
            try:
                authorization = await self._authenticator.header()
            except EngineError as error:
                raise RegistryError(f'{word} "{url}": {error}') from None
            more = {"Authorization": authorization} if authorization else {}
            async with self._exchange("GET", url, {**headers, **more}) as response:
                if response.status < 400 or response.status in allowed:
                    yield response
                    return
                body = await self._read(response, LARGEST_DOCUMENT)
                challenges = parse_challenges(response.headers.getall("WWW-Authenticate", []))
                if response.status == 401 and not last:
                    self._authenticator.challenged(challenges or [])
                    self._authenticator.forget()
                    continue
                raise refusal(response.status, response.reason or "", body, challenges)

    @asynccontextmanager
    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        import aiohttp

        if self._session is None or self._session.closed:
            raise EngineError("the connection to the registry is closed")
        try:
            response = await self._session.request(method, url, headers=headers, data=form)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            word = method.capitalize()
            raise UnreachableError(f'{word} "{url}": {await reason(error, self.endpoint)}') from None
        try:
            yield response
        finally:
            response.release()

    async def _token(self, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None) -> Answer:
        method = "GET" if form is None else "POST"
        async with self._exchange(method, url, headers, form) as response:
            return Answer(response.status, response.reason or "", await self._read(response, LARGEST_DOCUMENT))

    async def _read(self, response: aiohttp.ClientResponse, limit: int) -> bytes:
        return b"".join([chunk async for chunk in _limited(self._chunks(response), limit)])


async def _limited(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    total = 0
    async for chunk in chunks:
        total += len(chunk)
        if total > limit:
            raise RegistryError(f"the registry's answer has more than {limit} bytes")
        yield chunk


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


async def reason(error: BaseException, endpoint: Endpoint) -> str:
    """Why a connection failed, as Go words it."""
    import aiohttp

    host = split_port(endpoint.host)
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return _certificate_words(error.certificate_error, host)
        case aiohttp.ClientConnectorDNSError():
            return f"dial tcp: lookup {host}: no such host"
        case aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            text = str(error)
            if any(word in text for word in ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE")):
                return "http: server gave HTTP response to HTTPS client"
            return f"remote error: tls: {text}"
        case TimeoutError():
            return "net/http: request canceled while waiting for connection (Client.Timeout exceeded)"
        case aiohttp.ClientConnectorError():
            words = "connection refused" if isinstance(error.os_error, ConnectionRefusedError) else _os_words(error)
            return f"dial tcp {await _address(endpoint)}: connect: {words}"
        case aiohttp.ServerDisconnectedError():
            return "EOF"
    return str(error) or type(error).__name__


def _os_words(error: aiohttp.ClientConnectorError) -> str:
    import os

    number = error.os_error.errno
    return os.strerror(number).lower() if number else str(error.os_error)


async def _address(endpoint: Endpoint) -> str:
    """The address that was dialled, with its port."""
    host = endpoint.host
    port = urlsplit(endpoint.url).port or (443 if endpoint.url.startswith("https") else 80)
    try:
        answers = await asyncio.get_running_loop().getaddrinfo(split_port(host), port, type=socket.SOCK_STREAM)
    except OSError:
        return host
    address = str(answers[0][4][0])
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _certificate_words(error: BaseException, host: str) -> str:
    code = getattr(error, "verify_code", 0)
    if code in (18, 19, 20, 21):
        return "x509: certificate signed by unknown authority"
    if code in (9, 10):
        return "x509: certificate has expired or is not yet valid"
    if code in (62, 64):
        return f"x509: certificate is not valid for {host}"
    return f"x509: {getattr(error, 'verify_message', error)}"
