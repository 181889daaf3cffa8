"""``GET /metrics`` on an address of its own, so that who scrapes needs no access to the engine."""

from __future__ import annotations

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from apiserver.config import ConfigError, split_address
from apiserver.middleware.metrics import HTTP_REGISTRY
from apiserver.middleware.origins import check_origin
from controllers.metrics import REGISTRY
from store.errors import ForbiddenError


class MetricsServer:
    """Serves the metrics; ``address`` is HOST:PORT, with port 0 for any free one."""

    def __init__(self, address: str) -> None:
        self._host, self._port = split_address(address)
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port that it has."""
        assert self._runner is not None
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        """Listens; raises ConfigError when that cannot be."""
        app = web.Application()
        app.router.add_get("/metrics", _metrics)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host or None, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(f"--metrics-address {self._host}:{self._port}: {error.strerror}") from None

    async def stop(self) -> None:
        """Stops at once."""
        if self._runner is not None:
            await self._runner.cleanup()


def exposition() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(REGISTRY) + generate_latest(HTTP_REGISTRY)


async def _metrics(request: web.Request) -> web.Response:
    try:
        # Scrapers use whatever name reaches them; only browsers' pages are kept out.
        check_origin(request, {request.url.host or ""})
    except ForbiddenError as error:
        return web.Response(status=403, text=error.message)
    return web.Response(body=exposition(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
