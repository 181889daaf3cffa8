"""Defaulting and validation of a container's configuration before the store: pure, messages as dockerd words them."""

from __future__ import annotations

import ipaddress
import posixpath
import re
import secrets
import signal
from typing import TypeVar

from msgspec.structs import replace

from apiserver.wire.containers import EndpointRequest, NetworkingConfig
from store.errors import InvalidParameterError
from store.objects.containers import ContainerConfig, EndpointSpec, HealthConfig, HostConfig

NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_MAC = re.compile("[0-9a-f]{2}(:[0-9a-f]{2}){5}")
MILLISECOND = 1_000_000
T = TypeVar("T")
ADJECTIVES = (
    "able agile amber ample apt arctic astute azure balanced bold brave breezy bright brisk calm candid careful cheery "
    "clear clever coastal cosy crisp curious daring deft eager early earnest easy fair fast fine firm fleet fond frank "
    "fresh gentle glad golden grand hardy hearty humble keen kind lively loyal lucid lunar mellow merry mighty mild "
    "neat nimble noble patient placid plucky polar proud quick quiet rapid ready robust rugged sage sandy serene sharp "
    "silver sincere smart solar solid sound spry stable steady stout subtle sunny sure swift tidal tidy trusty upbeat "
    "vivid warm wise witty zesty"
).split()
NOUNS = (
    "anchor anvil ballast barge barque beacon berth bollard boom bosun bow brig bulwark buoy cabin cable capstan cargo "
    "chandler clipper cog compass coxswain crane cutter davit deck derrick dhow dinghy dock dory dredger ferry fender "
    "frigate galleon galley gantry gunwale halyard harbour hatch hawser helm hull jetty jib junk kedge keel ketch knot "
    "lantern lateen lighter lugger mainsail marina mast mooring oar packet pier pilot pinnace port prow pulley quay "
    "rigging rudder sampan schooner scow sextant shoal skiff sloop spar stern steward tackle tender tiller trawler tug "
    "wharf winch windlass yacht yard yawl"
).split()


def random_name() -> str:
    """Two words and, to make a clash rare, a number."""
    return f"{secrets.choice(ADJECTIVES)}_{secrets.choice(NOUNS)}{secrets.randbelow(1000)}"


def check_name(name: str) -> str:
    """A container's name without its slash; InvalidParameterError for one that dockerd refuses."""
    if not NAME.fullmatch(name):
        raise InvalidParameterError(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return name.removeprefix("/")


def signal_number(text: str) -> int:
    """A signal's number from its number, name or name without ``SIG``; InvalidParameterError for anything else."""
    if re.fullmatch(r"[0-9]{1,18}", text):
        number = int(text)
        if not 1 <= number <= signal.SIGRTMAX:
            raise InvalidParameterError(f"Invalid signal: {text}")
        return number
    name = text.upper().removeprefix("SIG")
    realtime = re.fullmatch(r"RTM(IN|AX)([+-][0-9]{1,2})?", name)
    if realtime:
        base = signal.SIGRTMIN if realtime[1] == "IN" else signal.SIGRTMAX
        number = base + int(realtime[2] or 0)
        if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            return number
        raise InvalidParameterError(f"Invalid signal: {text}")
    found = signal.Signals.__members__.get("SIG" + name)
    if found is None:
        raise InvalidParameterError(f"Invalid signal: {text}")
    return int(found)


def check_config(config: ContainerConfig) -> ContainerConfig:
    """Validate what the client sent, before the image's part is merged in."""
    _check_environment(config)
    if config.working_dir:
        _check_directory(config)
        config = replace(config, working_dir=posixpath.normpath(config.working_dir))
    if config.stop_signal:
        signal_number(config.stop_signal)
    if config.healthcheck:
        _check_health(config.healthcheck)
    return config


def _check_health(health: HealthConfig) -> None:
    for name, value in (
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
    ):
        if value and value < MILLISECOND:
            raise InvalidParameterError(f"{name} in Healthcheck cannot be less than 1ms")
    if health.retries < 0:
        raise InvalidParameterError("Retries in Healthcheck cannot be negative")


def merge_image(config: ContainerConfig, image: ContainerConfig) -> ContainerConfig:
    """Fill what the client left open with the image's configuration, as ``docker run`` users expect."""
    env = list(config.env or [])
    names = {variable.partition("=")[0] for variable in env}
    env += [variable for variable in image.env or () if variable.partition("=")[0] not in names]
    cmd, entrypoint = config.cmd, config.entrypoint
    if not entrypoint:
        if not cmd:
            cmd = image.cmd
        if entrypoint is None:
            entrypoint = image.entrypoint
    if entrypoint == [""]:
        # How the command line says "none", whatever the image has.
        entrypoint = None
    merged = replace(
        config,
        user=config.user or image.user,
        exposed_ports=_union(config.exposed_ports, image.exposed_ports),
        env=env or (None if config.env is None else []),
        labels=_union(config.labels, image.labels) or {},
        cmd=cmd or None,
        entrypoint=entrypoint or None,
        healthcheck=_merge_health(config.healthcheck, image.healthcheck),
        working_dir=config.working_dir or image.working_dir,
        volumes=_union(config.volumes, image.volumes),
        stop_signal=config.stop_signal or image.stop_signal,
        shell=config.shell or image.shell,
        on_build=config.on_build or None,
    )
    if not merged.cmd and not merged.entrypoint:
        raise InvalidParameterError("No command specified")
    _check_environment(merged)
    _check_directory(merged)
    # The kernel's strings end there; an image's configuration is no more to be trusted than the client's.
    for text in (merged.working_dir, merged.hostname, merged.domainname, merged.user):
        _check_text(text)
    for texts in (merged.cmd, merged.entrypoint, merged.env, merged.volumes):
        for text in texts or ():
            _check_text(text)
    return merged


def _check_environment(config: ContainerConfig) -> None:
    for variable in config.env or ():
        if not variable or variable.startswith("="):
            raise InvalidParameterError(f"invalid environment variable: {variable}")


def _check_directory(config: ContainerConfig) -> None:
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidParameterError(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path"
        )


def _check_text(text: str) -> None:
    if "\0" in text:
        raise InvalidParameterError("invalid argument: NUL byte in a string")


def _union(mine: dict[str, T] | None, theirs: dict[str, T] | None) -> dict[str, T] | None:
    return {**(theirs or {}), **(mine or {})} or None


def _merge_health(mine: HealthConfig | None, theirs: HealthConfig | None) -> HealthConfig | None:
    if mine is None or theirs is None:
        return mine or theirs
    return HealthConfig(
        test=mine.test or theirs.test,
        interval=mine.interval or theirs.interval,
        timeout=mine.timeout or theirs.timeout,
        start_period=mine.start_period or theirs.start_period,
        retries=mine.retries or theirs.retries,
    )


def command_line(config: ContainerConfig) -> tuple[str, tuple[str, ...]]:
    """The program and its arguments, from the entrypoint and the command."""
    words = [*(config.entrypoint or ()), *(config.cmd or ())]
    return words[0], tuple(words[1:])


def endpoints(mode: str, networking: NetworkingConfig | None, mac_address: str) -> dict[str, EndpointSpec]:
    """The networks that a new container will join: the mode's own, with the settings that the client gave for it."""
    asked = (networking.endpoints_config if networking else None) or {}
    if len(asked) > 1:
        raise InvalidParameterError(f"Container cannot be connected to network endpoints: {', '.join(sorted(asked))}")
    for name, request in asked.items():
        if request is None:
            raise InvalidParameterError(f"no EndpointSettings for {name}")
        _check_address(request)
    if mode.startswith("container:"):
        return {}
    name = "bridge" if mode in ("", "default") else mode
    request = asked.get(name) or next(iter(asked.values()), None) if name not in ("host", "none") else None
    if request is None:
        return {name: EndpointSpec(network=name, mac_address=_hardware_address(mac_address))}
    return {name: endpoint(name, request, mac_address)}


def endpoint(network: str, request: EndpointRequest, mac_address: str = "") -> EndpointSpec:
    """One endpoint as the client asked for it. InvalidParameterError for a MAC address that is none."""
    ipam = request.ipam_config
    return EndpointSpec(
        network=network,
        aliases=tuple(request.aliases or ()),
        ipv4_address=ipam.ipv4_address if ipam else "",
        mac_address=_hardware_address(request.mac_address or mac_address),
        links=tuple(request.links or ()),
        driver_opts=request.driver_opts,
        ipam_given=ipam is not None,
    )


def _hardware_address(text: str) -> str:
    """A station's address with colons; dockerd finds out only at the start what is none."""
    address = text.replace("-", ":").lower()
    if address and (not _MAC.fullmatch(address) or int(address[:2], 16) % 2):
        raise InvalidParameterError(f"address {text}: invalid MAC address")
    return address


def _check_address(request: EndpointRequest) -> None:
    ipam = request.ipam_config
    if ipam is None:
        return
    for version, text in (("IPv4", ipam.ipv4_address), ("IPv6", ipam.ipv6_address)):
        if text:
            try:
                valid = ipaddress.ip_address(text).version == int(version[-1])
            except ValueError:
                valid = False
            if not valid:
                raise InvalidParameterError(f"invalid {version} address: {text}")


def check_modes(config: ContainerConfig, host: HostConfig) -> None:
    """Refuse what a shared network or UTS namespace leaves no room for; ``config`` is what the client itself sent."""
    conflicts: tuple[tuple[object, str], ...] = ()
    if host.network_mode.startswith("container:"):
        conflicts = (
            (config.hostname, "hostname and the network mode"),
            (host.links, "container type network can't be used with links. This would result in undefined behavior"),
            (host.dns, "dns and the network mode"),
            (host.extra_hosts, "custom host-to-IP mapping and the network mode"),
            (config.mac_address, "mac-address and the network mode"),
            (
                host.port_bindings or host.publish_all_ports,
                "port publishing and the container type network mode",
            ),
            (config.exposed_ports, "port exposing and the container type network mode"),
        )
    elif host.network_mode == "host":
        conflicts = (
            (host.links, "host type networking can't be used with links. This would result in undefined behavior"),
            (config.mac_address, "mac-address and the network mode"),
        )
    for given, conflict in (*conflicts, (host.uts_mode == "host" and config.hostname, "hostname and the UTS mode")):
        if given:
            raise InvalidParameterError(f"conflicting options: {conflict}")
