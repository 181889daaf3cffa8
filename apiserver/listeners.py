"""The sockets on which clients are heard."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import socket
import ssl
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from apiserver.config import ConfigError, Endpoint, Limits, Settings, is_loopback

BACKLOG = 1024


@dataclass(frozen=True)
class Listener:
    """A bound socket, with what it is: its endpoint has the real port. ``owned``: to be removed at the end."""

    endpoint: Endpoint
    socket: socket.socket
    tls: ssl.SSLContext | None = None
    owned: bool = True

    def remove_path(self) -> None:
        """Removes a unix socket's file, if it is still ours. Before ``close``: a closed socket has lost its name."""
        path = self.endpoint.path
        with contextlib.suppress(OSError):
            if self.owned and self.endpoint.scheme == "unix" and _same_file(self.socket, path):
                path.unlink()

    def close(self) -> None:
        """Stops listening."""
        self.remove_path()
        self.socket.close()


def check_endpoint(endpoint: Endpoint, settings: Settings) -> None:
    """Raises ConfigError for what could not be bound whatever the machine's state; changes nothing."""
    if endpoint.scheme == "https":
        tls_context(settings)
    if endpoint.scheme == "unix":
        if len(os.fsencode(endpoint.path)) > 107:
            raise ConfigError(f"--socket-path {endpoint.path}: the path of a unix socket has at most 107 bytes")
        _group_id(settings.socket_group)


def bind(endpoint: Endpoint, settings: Settings) -> list[Listener]:
    """Binds an endpoint (a host name may have several addresses).

    Raises ConfigError with one line for people: in use, not allowed, no such group.
    """
    check_endpoint(endpoint, settings)
    if endpoint.scheme == "unix":
        return [Listener(endpoint, _bind_unix(endpoint.path, settings.socket_group))]
    tls = tls_context(settings) if endpoint.scheme == "https" else None
    listeners: list[Listener] = []
    for host in _addresses(endpoint.host):
        port = listeners[0].endpoint.port if listeners and not endpoint.port else endpoint.port
        try:
            bound = _bind_tcp(host, port, endpoint, settings)
        except ConfigError:
            for listener in listeners:
                listener.close()
            raise
        listeners.append(Listener(replace(endpoint, host=host, port=bound.getsockname()[1]), bound, tls))
    return listeners


def adopt(sockets: list[socket.socket], settings: Settings) -> list[Listener]:
    """Listeners out of sockets that systemd bound; plain http beyond this machine stays refused."""
    listeners = []
    for received in sockets:
        if received.family == socket.AF_UNIX:
            endpoint = Endpoint("unix", path=Path(received.getsockname()))
            listeners.append(Listener(endpoint, received, owned=False))
            continue
        host, port = received.getsockname()[:2]
        secure = settings.tls_certificate is not None
        if not (secure or is_loopback(host) or settings.allow_remote_http):
            raise ConfigError(f"socket activation on {host}:{port}: plain http beyond this machine needs TLS")
        tls = tls_context(settings) if secure else None
        endpoint = Endpoint("https" if secure else "http", host=host, port=port)
        listeners.append(Listener(endpoint, received, tls, owned=False))
    return listeners


def tls_context(settings: Settings) -> ssl.SSLContext:
    """The server's side of TLS; with an authority clients must show a certificate of it. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    assert settings.tls_certificate is not None
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
        if settings.tls_ca is not None:
            context.load_verify_locations(settings.tls_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        raise ConfigError(f"TLS certificate, key or authority cannot be used: {error}") from None
    return context


def unix_socket_in_use(path: Path) -> bool:
    """Whether somebody answers on a unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


def _bind_unix(path: Path, group: str) -> socket.socket:
    gid = _group_id(group)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() or path.is_symlink():
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise ConfigError(f"{path} exists and is no socket: remove it or choose another --socket-path")
            if unix_socket_in_use(path):
                raise ConfigError(f"{path} is in use by another server: stop it or choose another --socket-path")
            path.unlink()
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        mask = os.umask(0o177)
        try:
            bound.bind(str(path))
        finally:
            os.umask(mask)
        if gid >= 0:
            os.chown(path, -1, gid)
        path.chmod(0o660)
        bound.listen(BACKLOG)
    except OSError as error:
        raise ConfigError(f"cannot listen on {path}: {error.strerror}") from None
    return bound


def _group_id(group: str) -> int:
    if not group:
        return -1
    if group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(f"--socket-group {group}: there is no such group") from None


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}: {error.strerror}") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _bind_tcp(host: str, port: int, endpoint: Endpoint, settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _keep_alive(bound, settings.tls_limits if endpoint.scheme == "https" else settings.limits)
        bound.bind((host, port))
        # Two may bind a port for which neither listens yet: only this claims it.
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            flag = "--tls-port" if endpoint.scheme == "https" else "--port"
            raise ConfigError(f"{host}:{port} is in use: stop what listens there or choose another {flag}") from None
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return bound


def _keep_alive(bound: socket.socket, limits: Limits) -> None:
    seconds = int(limits.keep_alive)
    if seconds:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, seconds // 3))


def _same_file(bound: socket.socket, path: Path) -> bool:
    return bound.getsockname() == str(path) and stat.S_ISSOCK(path.lstat().st_mode)
