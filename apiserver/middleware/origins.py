"""Who may ask over TCP: no web page of another site, and no name that merely resolves to this machine.

A browser can be made to send requests to a port on its own machine: by a page of another site (it sends ``Origin``), or
by a page whose own name is pointed to this machine's address (it sends that name as ``Host``: DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from store.errors import ForbiddenError


def check_origin(request: web.BaseRequest, names: Collection[str]) -> None:
    """Raises ForbiddenError for a request of another site, or for a host that is no address and not in ``names``."""
    host = request.headers.get("Host", "")
    if not _is_own(host, names):
        raise ForbiddenError(f"host {host!r} is not this engine's: use its address")
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise ForbiddenError("cross-site requests are refused")
    if request.headers.get("Sec-Fetch-Site", "") == "cross-site":
        raise ForbiddenError("cross-site requests are refused")


def _is_own(host: str, names: Collection[str]) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if name == "localhost" or name in names:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
