"""Everything that can be set: flags, environment, configuration file, in that order, into one frozen Settings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from controllers.layout import Layout

DEFAULT_CONFIG_FILE = Path("/etc/wharfinger/daemon.json")
DEFAULT_SOCKET = Path("/var/run/docker-engine-api.sock")

Scheme = Literal["unix", "http", "https", "fd"]


class ConfigError(Exception):
    """Something is set wrongly; the message is one line that says what to do."""


@dataclass(frozen=True)
class Endpoint:
    """Where to listen: a path for ``unix``, host and port (0: any free one) for ``http`` and ``https``.

    ``fd`` stands for the sockets that systemd hands over.
    """

    scheme: Scheme
    path: Path = Path()
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}"
        if self.scheme == "fd":
            return "fd://"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True)
class Limits:
    """How many connections a listener takes at once (0: no limit) and how long it waits, in seconds (0: for ever)."""

    connections: int = 0
    keep_alive: float = 180.0
    read_timeout: float = 30.0
    write_timeout: float = 60.0


@dataclass(frozen=True)
class Settings:
    """One daemon's settings. Times in seconds, sizes in bytes."""

    schemes: tuple[Scheme, ...] = ("unix",)
    hosts: tuple[str, ...] = ()
    cleanup_timeout: float = 10.0
    graceful_timeout: float = 15.0
    max_header_size: int = 1 << 20
    socket_path: Path = DEFAULT_SOCKET
    socket_group: str = ""
    host: str = "localhost"
    port: int = 0
    limits: Limits = Limits()
    tls_host: str = ""
    tls_port: int = 0
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    tls_limits: Limits = Limits()
    allow_remote_http: bool = False
    data_root: Path = Path("/var/lib/wharfinger")
    exec_root: Path = Path("/run/wharfinger")
    database_url: str = ""
    pidfile: Path | None = None
    log_level: str = "info"
    log_format: Literal["text", "json"] = "text"
    metrics_address: str = "127.0.0.1:9323"
    config_file: Path | None = None
    bip: str = ""
    runtime: str = "runc"
    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    debug: bool = field(default=False)

    @property
    def layout(self) -> Layout:
        """Where things are on disk."""
        return Layout(data_root=self.data_root, exec_root=self.exec_root)

    @property
    def database(self) -> str:
        """The database's URL: the one given, or SQLite in the data root."""
        return self.database_url or f"sqlite:///{self.layout.database}"

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where to listen, without repetition; raises ConfigError for what makes no sense or is not safe."""
        if self.hosts:
            endpoints = [self._from_host(host) for host in self.hosts]
        else:
            endpoints = [self._from_scheme(scheme) for scheme in self.schemes]
        for endpoint in endpoints:
            self._check(endpoint)
        return tuple(dict.fromkeys(endpoints))

    def _from_scheme(self, scheme: Scheme) -> Endpoint:
        if scheme == "unix":
            return Endpoint("unix", path=self.socket_path)
        if scheme == "https":
            return Endpoint("https", host=self.tls_host or self.host, port=self.tls_port)
        return Endpoint("http", host=self.host, port=self.port)

    def _from_host(self, text: str) -> Endpoint:
        scheme, separator, rest = text.partition("://")
        if not separator:
            scheme, rest = "tcp", text
        if scheme == "unix":
            return Endpoint("unix", path=Path(rest) if rest else self.socket_path)
        if scheme == "fd":
            return Endpoint("fd")
        if scheme not in ("tcp", "http", "https"):
            raise ConfigError(f"-H {text}: use unix://PATH, tcp://HOST:PORT or fd://")
        secure = scheme == "https" or (scheme == "tcp" and self.tls_certificate is not None)
        host, port = split_address(rest.rstrip("/"), 2376 if secure else 2375)
        return Endpoint("https" if secure else "http", host=host or "localhost", port=port)

    def _check(self, endpoint: Endpoint) -> None:
        if endpoint.scheme == "https" and not (self.tls_certificate and self.tls_key):
            raise ConfigError(f"{endpoint}: --tls-certificate and --tls-key are needed for https")
        if endpoint.scheme == "http" and not (is_loopback(endpoint.host) or self.allow_remote_http):
            raise ConfigError(
                f"{endpoint}: plain http beyond this machine gives everybody who reaches the port root on it; use "
                "https with --tls-certificate, --tls-key and --tls-ca, or say --allow-remote-http if that is wanted"
            )


def split_address(text: str, default_port: int = 0) -> tuple[str, int]:
    """Host and port from ``host:port``, ``[v6]:port``, ``host`` or ``:port``; raises ConfigError."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]/]*))(?::(\d{1,5}))?", text)
    if match is None or int(match[3] or 0) > 65535:
        raise ConfigError(f"{text!r} is not HOST:PORT")
    return match[1] or match[2] or "", int(match[3]) if match[3] is not None else default_port


def is_loopback(host: str) -> bool:
    """Whether a host can only be reached from this machine, judged by its text alone."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def parse_duration(text: str) -> float:
    """Seconds from a duration such as ``10s``, ``3m`` or ``1h30m``, or a bare number of seconds; raises ConfigError."""
    from apiserver.timestamps import SECOND
    from apiserver.timestamps import parse_duration as parse_go

    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    try:
        value = parse_go(text) / SECOND
    except ValueError:
        raise ConfigError(f"{text!r} is not a duration such as 10s or 3m") from None
    if value < 0:
        raise ConfigError(f"{text!r}: a duration cannot be negative")
    return value


def parse_size(text: str) -> int:
    """Bytes from ``1MiB``, ``512KB`` or a bare number; raises ConfigError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ConfigError(f"{text!r} is not a size such as 1MiB")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** " KMGT".index(match[2].upper() or " "))
