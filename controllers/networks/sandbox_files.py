"""The texts of a container's /etc/hosts and /etc/resolv.conf, as dockerd writes them: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

LOCAL_HOSTS = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-localnet",
    "ff00::0\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
)
FALLBACK_SERVERS = ("8.8.8.8", "8.8.4.4")


def hosts_text(
    hostname: str,
    domainname: str,
    addresses: Iterable[str],
    extra: Sequence[str],
    host_gateway: str,
    links: Iterable[tuple[str, Sequence[str]]] = (),
) -> str:
    """``extra`` as ``--add-host`` has them, ``name:address``; the address ``host-gateway`` stands for the host's.

    ``links`` are addresses of linked containers (``--link``) with their names.
    """
    lines = list(LOCAL_HOSTS)
    for entry in extra:
        name, _, address = entry.partition(":")
        lines.append(f"{host_gateway if address == 'host-gateway' else address}\t{name}")
    lines.extend(f"{address}\t{' '.join(names)}" for address, names in links)
    # A name with dots is known by its first part too (dockerd, buildHostsFiles).
    full = f"{hostname}.{domainname}" if domainname else hostname
    names = f"{full} {full.split('.')[0]}" if "." in full else full
    lines.extend(f"{address}\t{names}" for address in addresses)
    return "\n".join(lines) + "\n"


def readdressed(text: str, names: Sequence[str], address: str) -> str:
    """A hosts file in which a linked container has that address: in the line that begins with the first of its names,
    or in one more. All else stays."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        _, tab, found = line.partition("\t")
        if tab and found.split()[:1] == [names[0]]:
            lines[number] = f"{address}\t{found}"
            return "\n".join(lines)
    return "\n".join([*lines[:-1], f"{address}\t{' '.join(names)}", lines[-1]])


def resolv_text(
    host_text: str,
    *,
    own_servers: Sequence[str] = (),
    servers: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    keep_local: bool = False,
) -> str:
    """The host's file with what the container asked for instead.

    ``own_servers`` are the networks' name servers; they stand alone in front of the host's, which they ask themselves.
    Servers on the host's loopback address cannot be reached from inside and are left out unless ``keep_local``.
    """
    found_servers, found_search, found_options = _parse(host_text)
    if not keep_local:
        found_servers = [server for server in found_servers if not _is_loopback(server)]
    chosen_search = [domain for domain in (search or found_search) if domain != "."]
    chosen_options = list(options or found_options)
    if own_servers:
        chosen_servers: Sequence[str] = (*own_servers, *servers)
        if not any(option.startswith("ndots:") for option in chosen_options):
            chosen_options.append("ndots:0")
    else:
        chosen_servers = servers or found_servers or FALLBACK_SERVERS
    lines = [f"search {' '.join(chosen_search)}"] if chosen_search else []
    lines.extend(f"nameserver {server}" for server in chosen_servers)
    if chosen_options:
        lines.append(f"options {' '.join(chosen_options)}")
    return "\n".join(lines) + "\n"


def _parse(text: str) -> tuple[list[str], list[str], list[str]]:
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        match line.split():
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search" | "domain", *domains]:
                search = domains
            case ["options", *words]:
                options = words
    return servers, search, options


def _is_loopback(server: str) -> bool:
    try:
        return ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return True
