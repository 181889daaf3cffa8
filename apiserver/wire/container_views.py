"""From the store's container to what clients see of it: pure."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from apiserver.timestamps import rfc3339
from apiserver.wire import containers as wire
from controllers.layout import Layout
from store.objects.containers import Container, EndpointStatus, MountPoint, PortBinding, PublishedPort

SECOND = 1_000_000_000


def state(container: Container) -> wire.ContainerState:
    """The ``State`` of an inspect answer."""
    status = container.status
    phase = status.phase
    return wire.ContainerState(
        status=phase,
        running=phase in ("running", "paused", "restarting"),
        paused=phase == "paused",
        restarting=phase == "restarting",
        oom_killed=status.oom_killed,
        dead=phase == "dead",
        pid=status.pid if container.running else 0,
        exit_code=status.exit_code,
        error=status.error,
        started_at=rfc3339(status.started_at),
        finished_at=rfc3339(status.finished_at),
        health=status.health if status.health is not None else UNSET,
    )


def human_duration(seconds: float) -> str:
    """A span of time as ``docker ps`` words it."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


def status_text(container: Container, now: float | None = None) -> str:
    """The STATUS column of ``docker ps``; ``now`` in seconds since the epoch."""
    status = container.status
    now = time.time() if now is None else now
    ago = human_duration(max(0.0, now - status.finished_at / SECOND))
    up = human_duration(max(0.0, now - status.started_at / SECOND))
    match status.phase:
        case "paused":
            return f"Up {up} (Paused)"
        case "restarting":
            return f"Restarting ({status.exit_code}) {ago} ago"
        case "running" if status.health is not None and status.health.status != "none":
            health = status.health.status
            return f"Up {up} ({'health: starting' if health == 'starting' else health})"
        case "running":
            return f"Up {up}"
        case "removing":
            return "Removal In Progress"
        case "dead":
            return "Dead"
        case "created":
            return "Created"
    return f"Exited ({status.exit_code}) {ago} ago"


def status_text_until(container: Container, now: float) -> float:
    """When what ``status_text`` says at ``now`` may change by time alone (seconds since the epoch)."""
    status = container.status
    if status.phase in ("created", "dead", "removing"):
        return math.inf
    since = (status.started_at if status.phase in ("running", "paused") else status.finished_at) / SECOND
    age = max(0, int(now - since))
    # The words count seconds at first; whole or half hours and all that is longer are whole minutes too.
    step = 1 if age < 60 else 60
    return since + age - age % step + step


def mounted(point: MountPoint) -> wire.MountedPoint:
    """One mount."""
    volume = point.type == "volume"
    return wire.MountedPoint(
        type=point.type,
        name=point.name if volume else UNSET,
        source=point.source,
        destination=point.destination,
        driver=point.driver if volume else UNSET,
        mode=point.mode,
        rw=point.read_write,
        propagation=point.propagation,
    )


def ports(container: Container) -> dict[str, list[PortBinding] | None]:
    """``NetworkSettings.Ports``: every exposed port of a running container, with where it is published."""
    if not container.running or container.spec.host.network_mode == "host":
        return {}
    answer: dict[str, list[PortBinding] | None] = {}
    for exposed in container.spec.config.exposed_ports or {}:
        port, _, protocol = exposed.partition("/")
        answer[f"{port}/{protocol or 'tcp'}"] = None
    for published in container.status.ports:
        key = f"{published.container_port}/{published.protocol}"
        answer[key] = [*(answer.get(key) or ()), _binding(published)]
    return answer


def _binding(port: PublishedPort) -> PortBinding:
    return PortBinding(host_ip=port.host_ip, host_port=str(port.host_port))


def endpoints(container: Container) -> dict[str, wire.EndpointSettings]:
    """``NetworkSettings.Networks``."""
    live = container.status.endpoints
    return {name: _endpoint(container, name, live.get(name)) for name in {**container.spec.endpoints, **live}}


def _endpoint(container: Container, name: str, live: EndpointStatus | None) -> wire.EndpointSettings:
    spec = container.spec.endpoints.get(name)
    network = live.network if live else container.status.joined.get(name, "")
    aliases = list(spec.aliases) if spec and spec.aliases else None
    if name not in ("bridge", "host", "none") and (network or (spec and spec.connected)):
        aliases = [*(aliases or ()), container.uid[:12]]
    ipam = {"IPv4Address": spec.ipv4_address} if spec and spec.ipv4_address else {}
    return wire.EndpointSettings(
        ipam_config=ipam if spec and (ipam or spec.ipam_given) else None,
        links=list(spec.links) if spec and spec.links else None,
        aliases=aliases,
        network_id=network,
        endpoint_id=live.endpoint_id if live else "",
        gateway=live.gateway if live else "",
        ip_address=live.ipv4_address if live else "",
        ip_prefix_len=live.prefix_length if live else 0,
        mac_address=live.mac_address if live else "",
        driver_opts=spec.driver_opts if spec else None,
    )


def network_settings(container: Container, layout: Layout) -> wire.NetworkSettings:
    """``NetworkSettings`` of an inspect answer."""
    status = container.status
    networks = endpoints(container)
    bridge = networks.get("bridge", wire.EndpointSettings())
    return wire.NetworkSettings(
        sandbox_id=status.sandbox_id,
        ports=ports(container),
        sandbox_key=str(layout.namespaces / container.uid) if status.sandbox_id else "",
        endpoint_id=bridge.endpoint_id,
        gateway=bridge.gateway,
        ip_address=bridge.ip_address,
        ip_prefix_len=bridge.ip_prefix_len,
        mac_address=bridge.mac_address,
        networks=networks,
    )


def inspect(
    container: Container,
    layout: Layout,
    lowers: list[str],
    exec_ids: list[str] | None,
    sizes: tuple[int, int] | None = None,
    links: Iterable[str] = (),
) -> wire.ContainerInspect:
    """The whole inspect answer; ``sizes`` are bytes written and in all, when they were asked for."""
    uid = container.uid
    names = layout.container(container.names_from)
    ever = container.status.starts != 0
    log = container.spec.host.log_config.type == "json-file"
    return wire.ContainerInspect(
        id=uid,
        created=rfc3339(container.meta.created_at),
        path=container.spec.path,
        args=list(container.spec.args),
        state=state(container),
        image=container.spec.image_id,
        resolv_conf_path=str(names / "resolv.conf") if ever else "",
        hostname_path=str(names / "hostname") if ever else "",
        hosts_path=str(names / "hosts") if ever else "",
        log_path=str(layout.log(uid)) if ever and log else "",
        name="/" + container.name,
        restart_count=container.status.restart_count,
        host_config=wire.without_empty(
            replace(container.spec.host, links=list(links)) if links else container.spec.host
        ),
        exec_ids=exec_ids,
        graph_driver=wire.GraphDriver(
            data={
                "LowerDir": ":".join(lowers),
                "MergedDir": str(layout.merged(uid)),
                "UpperDir": str(layout.upper(uid)),
                "WorkDir": str(layout.work(uid)),
            }
        ),
        size_rw=sizes[0] if sizes else UNSET,
        size_root_fs=sizes[1] if sizes else UNSET,
        mounts=[mounted(point) for point in container.spec.mounts],
        config=wire.without_empty(container.spec.config),
        network_settings=network_settings(container, layout),
    )


def _list_ports(container: Container) -> list[wire.Port]:
    answer = []
    for exposed, bindings in ports(container).items():
        number, _, protocol = exposed.partition("/")
        if "-" in number:
            continue
        if not bindings:
            answer.append(wire.Port(private_port=int(number), type=protocol))
        for binding in bindings or ():
            answer.append(
                wire.Port(
                    ip=binding.host_ip,
                    private_port=int(number),
                    public_port=int(binding.host_port),
                    type=protocol,
                )
            )
    return answer


def command(container: Container) -> str:
    """The COMMAND column: program and arguments, quoted where they have spaces."""
    words = [container.spec.path]
    for argument in container.spec.args:
        words.append(f"'{argument}'" if " " in argument else argument)
    return " ".join(words)


def summary(
    container: Container,
    image: str,
    status: str,
    sizes: tuple[int, int] | None = None,
    linked_as: Iterable[str] = (),
) -> wire.ContainerSummary:
    """One line of a list; ``image`` is the image's name as it is to be shown, ``linked_as`` what others call it."""

    def size(index: int) -> int | UnsetType:
        return sizes[index] if sizes and sizes[index] else UNSET

    return wire.ContainerSummary(
        id=container.uid,
        names=["/" + container.name, *linked_as],
        image=image,
        image_id=container.spec.image_id,
        command=command(container),
        created=container.meta.created_at // SECOND,
        ports=_list_ports(container),
        size_rw=size(0),
        size_root_fs=size(1),
        labels=container.spec.config.labels or {},
        state=container.status.phase,
        status=status,
        host_config=wire.SummaryHostConfig(network_mode=container.spec.host.network_mode),
        network_settings=wire.SummaryNetworkSettings(networks=endpoints(container)),
        mounts=[mounted(point) for point in container.spec.mounts],
    )
