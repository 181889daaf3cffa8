"""Where a registry can be reached, and whether its TLS has to be trusted."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from controllers.images.references import DEFAULT_REGISTRY
from store.errors import EngineError

HUB = "registry-1.docker.io"
CERTIFICATES = Path("/etc/docker/certs.d")
LOOPBACK = "127.0.0.0/8"


@dataclass(frozen=True)
class Endpoint:
    """One base URL without a slash at its end; ``verified`` TLS must be trusted, a ``mirror`` may fail."""

    url: str
    verified: bool = True
    mirror: bool = False

    @property
    def host(self) -> str:
        """Host and port, as in the URL."""
        return self.url.partition("://")[2].partition("/")[0]


async def endpoints(registry: str, *, mirrors: Sequence[str] = (), insecure: Sequence[str] = ()) -> list[Endpoint]:
    """The endpoints to try, in order: mirrors (of Docker Hub alone), TLS, and plain HTTP for an insecure registry."""
    if registry == DEFAULT_REGISTRY:
        found = [Endpoint(url.rstrip("/"), not await is_insecure(url_host(url), insecure), True) for url in mirrors]
        return [*found, Endpoint(f"https://{HUB}")]
    if await is_insecure(registry, insecure):
        return [Endpoint(f"https://{registry}", verified=False), Endpoint(f"http://{registry}", verified=False)]
    return [Endpoint(f"https://{registry}")]


def url_host(url: str) -> str:
    """Host and port of a URL."""
    return url.partition("://")[2].partition("/")[0]


def split_port(host: str) -> str:
    """The host without its port and without an IPv6 address's brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


async def is_insecure(host: str, insecure: Sequence[str]) -> bool:
    """Whether a registry is named as insecure, or one of its addresses is in an insecure network (loopback always)."""
    networks = []
    for entry in (*insecure, LOOPBACK):
        if entry in (host, split_port(host)):
            return True
        try:
            networks.append(ipaddress.ip_network(entry, strict=False))
        except ValueError:
            continue
    try:
        addresses = [ipaddress.ip_address(split_port(host))]
    except ValueError:
        try:
            answers = await asyncio.get_running_loop().getaddrinfo(split_port(host), None, type=socket.SOCK_STREAM)
        except OSError:
            return False
        addresses = [ipaddress.ip_address(answer[4][0]) for answer in answers]
    return any(address in network for address in addresses for network in networks)


def tls(endpoint: Endpoint, certificates: Path = CERTIFICATES) -> ssl.SSLContext:
    """The TLS context for an endpoint, with what ``certs.d/HOST:PORT`` adds: ``*.crt``, and ``*.cert`` with ``*.key``.

    Reads files: call it in a thread. EngineError when a certificate cannot be read.
    """
    context = ssl.create_default_context()
    if not endpoint.verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    directory = certificates / endpoint.host
    if not directory.is_dir():
        return context
    for file in sorted(directory.iterdir()):
        try:
            if file.suffix == ".crt":
                context.load_verify_locations(file)
            elif file.suffix == ".cert":
                context.load_cert_chain(file, file.with_suffix(".key"))
        except (OSError, ssl.SSLError) as error:
            raise EngineError(f"{file}: {error}") from None
    return context
