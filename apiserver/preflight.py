"""What would stop the daemon, found before anything is changed: each a line that says what to do."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path

from apiserver.config import ConfigError, Endpoint, Settings, split_address
from apiserver.listeners import check_endpoint, unix_socket_in_use

LOCK_NAME = "lock"
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROGRAMS = {
    "conmon": "conmon",
    "dnsmasq": "dnsmasq-base",
}


def problems(settings: Settings) -> Iterator[str]:
    """One line for each thing that would stop a daemon with these settings; nothing is changed."""
    for check in _CHECKS:
        yield from check(settings)


def find_program(name: str) -> str | None:
    """A program's path, looked for also where an ordinary user's PATH does not reach."""
    return shutil.which(name) or shutil.which(name, path=_SYSTEM_PATH)


def _root(_: Settings) -> Iterator[str]:
    if os.geteuid() != 0:
        yield "the engine must run as root: try it with sudo"


def _programs(settings: Settings) -> Iterator[str]:
    if find_program(settings.runtime) is None:
        yield f"the OCI runtime {settings.runtime} is not installed: apt-get install runc, or name another by --runtime"
    for program, package in _PROGRAMS.items():
        if find_program(program) is None:
            yield f"{program} is not installed: apt-get install {package}"


def _overlayfs(settings: Settings) -> Iterator[str]:
    if not _kernel_has("overlay", filesystem=True):
        yield "the kernel has no overlayfs: load the module overlay, or use a kernel that has it"
    elif _filesystem_of(settings.data_root) in ("overlay", "aufs"):
        yield (
            f"--data-root {settings.data_root} is itself on overlayfs, which cannot hold layers: "
            "choose a directory on a disk or a volume"
        )


def _nftables(_: Settings) -> Iterator[str]:
    libraries = (
        path for pattern in ("*/libnftables.so.1", "libnftables.so.1") for path in Path("/usr/lib").glob(pattern)
    )
    if next(libraries, None) is None:
        yield "nftables is not installed: apt-get install nftables"
    elif not _kernel_has("nf_tables"):
        yield "the kernel has no nftables: load the module nf_tables, or use a kernel that has it"


def _cgroups(_: Settings) -> Iterator[str]:
    if not any(_mounted("cgroup2", "cgroup")):
        yield "no cgroups are mounted below /sys/fs/cgroup: mount cgroup2 there"


def _database(settings: Settings) -> Iterator[str]:
    if not settings.database_url:
        return
    from store.database import DatabaseError, parsed

    try:
        parsed(settings.database_url)
    except DatabaseError as error:
        yield f"--database-url: {error}"


def _bridge(settings: Settings) -> Iterator[str]:
    from controllers.networks.startup import bridge_pool
    from store.errors import InvalidParameterError

    try:
        wanted = bridge_pool(settings.bip).subnet
    except InvalidParameterError as error:
        yield str(error)
        return
    for name, network in _connected():
        if str(network) == wanted and not name.startswith(settings.layout.prefix):
            yield f"--bip {settings.bip}: {name} has that network already, is another engine there? choose another"


def _connected() -> Iterator[tuple[str, IPv4Network]]:
    """The networks that this host's links are in, from /proc/net/route (proc(5))."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        name, destination, gateway, *_, mask = line.split()[:8]
        if int(gateway, 16) == 0:
            address, netmask = (socket.inet_ntoa(bytes.fromhex(text)[::-1]) for text in (destination, mask))
            yield name, IPv4Network(f"{address}/{netmask}")


def _data_root(settings: Settings) -> Iterator[str]:
    lock = settings.data_root / LOCK_NAME
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        yield f"another daemon runs on --data-root {settings.data_root}: stop it or choose another"
    except PermissionError:
        yield f"--data-root {settings.data_root} cannot be read: the engine must run as root"
    except OSError:
        return


def _listening(settings: Settings) -> Iterator[str]:
    try:
        endpoints = settings.endpoints()
    except ConfigError as error:
        yield str(error)
        return
    for endpoint in endpoints:
        try:
            check_endpoint(endpoint, settings)
        except ConfigError as error:
            yield str(error)
            continue
        if endpoint.scheme == "unix" and "LISTEN_FDS" not in os.environ and unix_socket_in_use(endpoint.path):
            yield f"{endpoint.path} is in use by another server: stop it or choose another --socket-path"
        elif endpoint.scheme in ("http", "https"):
            yield from _port_in_use(endpoint)
    if settings.metrics_address:
        try:
            host, port = split_address(settings.metrics_address)
        except ConfigError as error:
            yield f"--metrics-address: {error}"
            return
        for problem in _port_in_use(Endpoint("http", host=host, port=port)):
            yield f"--metrics-address {problem}"


def _port_in_use(endpoint: Endpoint) -> Iterator[str]:
    if not endpoint.port:
        return
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((endpoint.host, endpoint.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                yield f"{endpoint.host}:{endpoint.port} is in use: stop what listens there or choose another port"
            else:
                yield f"{endpoint.host}:{endpoint.port}: {error.strerror}"


def _kernel_has(module: str, *, filesystem: bool = False) -> bool:
    if filesystem and any(line.split()[-1] == module for line in Path("/proc/filesystems").read_text().splitlines()):
        return True
    if (Path("/sys/module") / module).exists() or _built_in(module):
        return True
    # A kernel without loadable modules tells nothing about what is built in: then only trying can tell.
    return not Path("/lib/modules", os.uname().release).exists() and not filesystem


def _built_in(module: str) -> bool:
    directory = Path("/lib/modules", os.uname().release)
    for name in ("modules.builtin", "modules.dep"):
        try:
            if f"/{module}.ko" in (directory / name).read_text():
                return True
        except OSError:
            continue
    return False


def _mounted(*kinds: str) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split()[0] in kinds:
            yield fields.split()[4]


def _filesystem_of(path: Path) -> str:
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    device = existing.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[2] == wanted:
            return rest.split()[0]
    return ""


_CHECKS: tuple[Callable[[Settings], Iterator[str]], ...] = (
    _root,
    _programs,
    _overlayfs,
    _nftables,
    _cgroups,
    _database,
    _bridge,
    _data_root,
    _listening,
)
