"""``docker import URL``: a tar from the web, with dockerd's progress lines and errors (moby: GetWithStatusError)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from controllers.images.board import Progress
from controllers.images.registry.client import CONNECT_TIMEOUT, SILENCE_TIMEOUT, reason
from controllers.images.registry.endpoints import Endpoint, split_port, tls
from store.errors import EngineError, ForbiddenError, InvalidParameterError, NotFoundError, UnauthorizedError

if TYPE_CHECKING:
    import aiohttp

LONGEST_QUOTE = 8192
"""Bytes of a refusal's body that the client gets to read."""
REDIRECTS = 10
STEP = 512 * 1024
PAUSE = 0.1
_CHUNK = 1 << 16
_KINDS: dict[int, type[EngineError]] = {
    400: InvalidParameterError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
}


def web_address(text: str) -> str:
    """What a client gave as a source as a URL; InvalidParameterError for what cannot be asked for."""
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise InvalidParameterError(f'parse "{url}": {error}') from None
    if parts.scheme not in ("http", "https"):
        raise InvalidParameterError(f'Get "{url}": unsupported protocol scheme "{parts.scheme}"')
    if not host:
        raise InvalidParameterError(f'Get "{url.removesuffix("//")}": http: no Host in request URL')
    return url


async def download(url: str, progress: Progress, user_agent: str) -> AsyncGenerator[bytes]:
    """The bytes of a file on the web; nothing is asked for before the first is wanted.

    Raises EngineErrors in dockerd's words: of the kind of the server's refusal, or when the server cannot be reached,
    breaks off or is silent for a minute.
    """
    import aiohttp

    endpoint = Endpoint(url)
    context = await asyncio.to_thread(tls, endpoint)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=SILENCE_TIMEOUT),
        headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
        # A compressed tar is unpacked as such, whatever the server calls it.
        auto_decompress=False,
        trust_env=split_port(endpoint.host) not in ("localhost", "127.0.0.1", "::1"),
    ) as session:
        try:
            response = await session.get(url, max_redirects=REDIRECTS)
        except aiohttp.TooManyRedirects:
            raise EngineError(f'Get "{url}": stopped after {REDIRECTS} redirects') from None
        except aiohttp.NonHttpUrlRedirectClientError as error:
            scheme = urlsplit(str(error)).scheme
            raise EngineError(f'Get "{url}": unsupported protocol scheme "{scheme}"') from None
        except ValueError as error:
            # No host can be called so.
            raise InvalidParameterError(f'parse "{url}": {error}') from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EngineError(f'Get "{url}": {await reason(error, endpoint)}') from None
        try:
            if response.status >= 400:
                raise await _refusal(url, response)
            await progress.line({"status": f"Downloading from {url}"})
            async for chunk in _shown(response, progress):
                yield chunk
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EngineError(f"unexpected EOF: {error}" if str(error) else "unexpected EOF") from None
        finally:
            response.close()


async def _refusal(url: str, response: aiohttp.ClientResponse) -> EngineError:
    body = await response.content.read(LONGEST_QUOTE)
    text = f"failed to GET {url} with status {response.status} {response.reason or ''}: "
    return _KINDS.get(response.status, EngineError)(text + body.decode("utf-8", "replace").strip())


async def _shown(response: aiohttp.ClientResponse, progress: Progress) -> AsyncIterator[bytes]:
    total = response.content_length or 0
    step = min(STEP, total // 100) if total else STEP
    current = told = 0
    at = 0.0
    async for chunk in response.content.iter_chunked(_CHUNK):
        current += len(chunk)
        if current - told > step and time.monotonic() - at > PAUSE:
            told, at = current, time.monotonic()
            await progress.status("Importing", current=current, total=total)
        yield chunk
    await progress.status("Importing", current=current, total=total)
