"""Defaulting and validation of ``HostConfig``: pure, one function a concern, messages as dockerd words them."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass

from msgspec.structs import replace

from apiserver.admission.older import as_meant
from store.errors import ForbiddenError, InvalidParameterError
from store.objects import log_options
from store.objects.containers import HostConfig, LogConfig, PortBinding, RestartPolicy

MIB = 1024 * 1024
_CPU = re.compile(r"[0-9]{1,9}")
MINIMUM_MEMORY = 6 * MIB
DEFAULT_SHM_SIZE = 64 * MIB
MASKED_PATHS = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
]
READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
CAPABILITIES = frozenset(
    "CAP_" + name
    for name in (
        "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH "
        "FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN "
        "NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT "
        "SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM"
    ).split()
)


@dataclass(frozen=True)
class HostFacts:
    """What validation has to know of the host; ``cpus`` and ``memory_nodes`` are the numbers that exist."""

    cpus: frozenset[int]
    memory_nodes: frozenset[int]
    runtimes: frozenset[str]
    default_runtime: str
    cgroup_v2: bool
    blkio_weight: bool

    @staticmethod
    def read(runtimes: frozenset[str], default_runtime: str) -> HostFacts:
        """Look at this host."""
        try:
            with open("/sys/devices/system/node/online") as source:
                nodes = parse_cpu_list(source.read().strip())
        except OSError:
            nodes = frozenset({0})
        v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
        return HostFacts(
            cpus=frozenset(os.sched_getaffinity(0)),
            memory_nodes=nodes,
            runtimes=runtimes,
            default_runtime=default_runtime,
            cgroup_v2=v2,
            blkio_weight=v2 or os.path.exists("/sys/fs/cgroup/blkio/blkio.weight"),
        )


def parse_cpu_list(text: str) -> frozenset[int]:
    """Read ``0-2,7`` as cpuset(7) has it; ValueError when it is not that."""
    numbers: set[int] = set()
    for part in text.split(","):
        if not part:
            raise ValueError(f"invalid format: {text}")
        first, dash, last = part.partition("-")
        if not _CPU.fullmatch(first) or (dash and not _CPU.fullmatch(last)):
            raise ValueError(f"invalid format: {text}")
        low, high = int(first), int(last or first)
        if high < low or high > 65536:
            raise ValueError(f"invalid format: {text}")
        numbers.update(range(low, high + 1))
    return frozenset(numbers)


def admit(host: HostConfig, facts: HostFacts, api: tuple[int, int]) -> tuple[HostConfig, list[str]]:
    """Default and validate a host configuration.

    Takes what the client sent, what the host has and the API version; gives the complete configuration and dockerd's
    warnings. InvalidParameterError for what cannot be.
    """
    warnings: list[str] = []
    host = as_meant(host, api)
    _check_processor(host, facts)
    host = _memory(host, warnings)
    _check_security(host)
    _check_names(host)
    _check_modes(host)
    _check_restart(host)
    if host.runtime and host.runtime not in facts.runtimes:
        raise InvalidParameterError(f"Unknown runtime specified {host.runtime}")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise InvalidParameterError(f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    if host.shm_size < 0:
        raise InvalidParameterError("SHM size can not be less than 0")
    if host.isolation not in ("", "default"):
        raise InvalidParameterError(f"Invalid isolation: \"{host.isolation}\" - linux only supports 'default'")
    for limit, what in ((host.io_maximum_bandwidth, "bandwidth"), (host.io_maximum_iops, "IOPs")):
        if limit:
            raise InvalidParameterError(f"Invalid QoS settings: linux does not support configuration of maximum {what}")
    if host.storage_opt:
        raise InvalidParameterError("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
    if host.blkio_weight and not facts.blkio_weight:
        warnings.append("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.")
        host = replace(host, blkio_weight=0)
    if host.blkio_weight and not 10 <= host.blkio_weight <= 1000:
        raise InvalidParameterError("Range of blkio weight is from 10 to 1000")
    if host.network_mode == "host" and host.port_bindings:
        warnings.append("Published ports are discarded when using host network mode")
    cgroupns = host.cgroupns_mode or ("private" if facts.cgroup_v2 and not host.privileged else "host")
    host = replace(
        host,
        log_config=_log_config(host.log_config),
        network_mode=host.network_mode or "default",
        port_bindings=_port_bindings(host),
        cgroupns_mode=cgroupns,
        security_opt=_security_options(host),
        shm_size=host.shm_size or DEFAULT_SHM_SIZE,
        runtime=host.runtime or facts.default_runtime,
        console_size=host.console_size or (0, 0),
        pids_limit=host.pids_limit if host.pids_limit and host.pids_limit > 0 else None,
        oom_kill_disable=False if host.oom_kill_disable is None else host.oom_kill_disable,
        masked_paths=_paths(host.masked_paths, MASKED_PATHS, host.privileged),
        readonly_paths=_paths(host.readonly_paths, READONLY_PATHS, host.privileged),
    )
    return host, warnings


def _paths(given: list[str] | None, usual: list[str], privileged: bool) -> list[str] | None:
    if given is not None:
        return given
    return None if privileged else list(usual)


def _security_options(host: HostConfig) -> list[str] | None:
    """What was asked for; who shares the host's processes has no label of its own."""
    asked = host.security_opt or []
    unlabelled = host.privileged or "host" in (host.pid_mode, host.ipc_mode)
    if unlabelled and not any(option.split("=")[0] == "label" for option in asked):
        return [*asked, "label=disable"]
    return host.security_opt


def _check_processor(host: HostConfig, facts: HostFacts) -> None:
    count = len(facts.cpus)
    if host.nano_cpus:
        if host.cpu_period:
            raise InvalidParameterError("Conflicting options: Nano CPUs and CPU Period cannot both be set")
        if host.cpu_quota:
            raise InvalidParameterError("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
        if not 0 <= host.nano_cpus <= count * 1_000_000_000:
            raise InvalidParameterError(
                f"Range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
            )
    if host.cpu_period and not 1000 <= host.cpu_period <= 1_000_000:
        raise InvalidParameterError(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < host.cpu_quota < 1000:
        raise InvalidParameterError("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    for what, things, text, available in (
        ("cpuset cpus", "CPUs", host.cpuset_cpus, facts.cpus),
        ("cpuset mems", "memory nodes", host.cpuset_mems, facts.memory_nodes),
    ):
        if not text:
            continue
        try:
            wanted = parse_cpu_list(text)
        except ValueError as error:
            raise InvalidParameterError(f"Invalid value {text} for {what}: {error}") from None
        if not wanted <= available:
            raise InvalidParameterError(
                f"Requested {things} are not available - requested {text}, available: {_ranges(available)}"
            )


def _ranges(numbers: frozenset[int]) -> str:
    parts: list[str] = []
    ordered = sorted(numbers)
    start = previous = ordered[0]
    for number in [*ordered[1:], -1]:
        if number == previous + 1:
            previous = number
            continue
        parts.append(str(start) if start == previous else f"{start}-{previous}")
        start = previous = number
    return ",".join(parts)


def _memory(host: HostConfig, warnings: list[str]) -> HostConfig:
    if 0 < host.memory < MINIMUM_MEMORY or host.memory < 0:
        raise InvalidParameterError("Minimum memory limit allowed is 6MB")
    if host.memory_swap > 0 and not host.memory:
        raise InvalidParameterError("You should always set the Memory limit when using Memoryswap limit, see usage")
    if host.memory and 0 < host.memory_swap < host.memory:
        raise InvalidParameterError("Minimum memoryswap limit should be larger than memory limit, see usage")
    if host.memory_swappiness is not None and not -1 <= host.memory_swappiness <= 100:
        raise InvalidParameterError(f"Invalid value: {host.memory_swappiness}, valid memory swappiness range is 0-100")
    if 0 < host.memory_reservation < MINIMUM_MEMORY or host.memory_reservation < 0:
        raise InvalidParameterError("Minimum memory reservation allowed is 6MB")
    if host.memory and host.memory_reservation > host.memory:
        raise InvalidParameterError("Minimum memory limit can not be less than memory reservation limit, see usage")
    if 0 < host.kernel_memory < MINIMUM_MEMORY:
        raise InvalidParameterError("Minimum kernel memory limit allowed is 6MB")
    if host.kernel_memory:
        warnings.append("Specifying a kernel memory limit is deprecated and will be removed in a future release.")
    if host.oom_kill_disable and not host.memory:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, "
            "this can result in the system running out of resources."
        )
    if host.memory and not host.memory_swap:
        host = replace(host, memory_swap=2 * host.memory)
    if host.memory_swappiness == -1:
        host = replace(host, memory_swappiness=None)
    return host


def _check_security(host: HostConfig) -> None:
    for field, capabilities in (("CapAdd", host.cap_add), ("CapDrop", host.cap_drop)):
        for text in capabilities or ():
            name = text.upper()
            if name == "ALL":
                continue
            full = name if name.startswith("CAP_") else "CAP_" + name
            if full not in CAPABILITIES:
                raise InvalidParameterError(f'invalid {field}: unknown capability: "{full}"')
    for option in host.security_opt or ():
        if option in ("no-new-privileges", "disable"):
            continue
        key, separator, value = option.partition("=")
        if not separator:
            key, separator, value = option.partition(":")
        if not separator:
            raise InvalidParameterError(f'invalid --security-opt 1: "{option}"')
        if key not in ("label", "apparmor", "seccomp", "no-new-privileges", "systempaths"):
            raise InvalidParameterError(f'invalid --security-opt 2: "{option}"')
        if key == "no-new-privileges" and value.lower() not in ("true", "false", "1", "0", "t", "f"):
            raise InvalidParameterError(f'invalid --security-opt 2: "{option}"')
    for device in host.devices or ():
        if device.cgroup_permissions and not re.fullmatch("[rwm]{1,3}", device.cgroup_permissions):
            raise InvalidParameterError(f"invalid device mode: {device.cgroup_permissions}")
    for rule in host.device_cgroup_rules or ():
        if not re.fullmatch(r"[acb] ([0-9]{1,9}|\*):([0-9]{1,9}|\*) [rwm]{1,3}", rule):
            raise InvalidParameterError(f"invalid device cgroup rule format: '{rule}'")


def _check_names(host: HostConfig) -> None:
    for entry in host.extra_hosts or ():
        name, colon, address = entry.partition(":")
        if not colon or not name:
            raise InvalidParameterError(f'bad format for add-host: "{entry}"')
        if address != "host-gateway":
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise InvalidParameterError(f'invalid IP address in add-host: "{address}"') from None
    for server in host.dns or ():
        try:
            ipaddress.ip_address(server)
        except ValueError:
            raise InvalidParameterError(f"{server} is not an ip address") from None


def _check_modes(host: HostConfig) -> None:
    kind, _, other = host.network_mode.partition(":")
    if kind == "container" and not other:
        raise InvalidParameterError("Invalid network mode: invalid container format container:<name|id>")
    if host.cgroupns_mode not in ("", "private", "host"):
        raise InvalidParameterError(f"invalid cgroup namespace mode: {host.cgroupns_mode}")
    if host.ipc_mode not in ("", "none", "private", "shareable", "host") and not host.ipc_mode.startswith("container:"):
        raise InvalidParameterError(f"invalid IPC mode: {host.ipc_mode}")
    if host.pid_mode not in ("", "host") and not host.pid_mode.startswith("container:"):
        raise InvalidParameterError(f"invalid PID mode: {host.pid_mode}")
    if host.uts_mode not in ("", "host"):
        raise InvalidParameterError(f"invalid UTS mode: {host.uts_mode}")
    if host.userns_mode not in ("", "host"):
        raise InvalidParameterError(f"invalid user namespace mode: {host.userns_mode}")
    if host.links and host.network_mode == "host":
        raise InvalidParameterError(
            "conflicting options: host type networking can't be used with links. "
            "This would result in undefined behavior"
        )
    if host.links and host.network_mode.startswith("container:"):
        raise InvalidParameterError(
            "conflicting options: container type network can't be used with links. "
            "This would result in undefined behavior"
        )
    if host.device_requests:
        request = host.device_requests[0]
        wanted = " ".join(f"[{' '.join(each)}]" for each in request.capabilities or ())
        raise ForbiddenError(f'could not select device driver "{request.driver}" with capabilities: [{wanted}]')


def check_restart_policy(policy: RestartPolicy) -> None:
    """Refuse an unknown policy or a retry count where none belongs (InvalidParameterError)."""
    if policy.name in ("always", "unless-stopped", "no", ""):
        if policy.maximum_retry_count:
            raise InvalidParameterError(f"maximum retry count cannot be used with restart policy '{policy.name}'")
    elif policy.name == "on-failure":
        if policy.maximum_retry_count < 0:
            raise InvalidParameterError("maximum retry count cannot be negative")
    else:
        raise InvalidParameterError(f"invalid restart policy '{policy.name}'")


def _check_restart(host: HostConfig) -> None:
    check_restart_policy(host.restart_policy)
    if host.auto_remove and host.restart_policy.name not in ("", "no"):
        raise InvalidParameterError("can't create 'AutoRemove' container with restart policy")


def _log_config(log: LogConfig) -> LogConfig:
    log_options.check(log)
    return LogConfig(type=log.type or log_options.DEFAULT_DRIVER, config=dict(log.config or {}))


def check_port(text: str) -> None:
    """Refuse what is not ``PORT[/PROTOCOL]`` (InvalidParameterError)."""
    port, slash, protocol = text.partition("/")
    if (slash and protocol.lower() not in ("tcp", "udp", "sctp")) or not _is_port_range(port):
        raise InvalidParameterError(f'invalid port specification: "{port}"')


def _is_port_range(text: str) -> bool:
    first, dash, last = text.partition("-")
    ends = [first, last] if dash else [first]
    return all(re.fullmatch(r"[0-9]{1,9}", end) and int(end) <= 65535 for end in ends) and (
        not dash or int(first) <= int(last)
    )


def _port_bindings(host: HostConfig) -> dict[str, list[PortBinding] | None] | None:
    if host.port_bindings is None:
        return None
    for port, bindings in host.port_bindings.items():
        check_port(port)
        for binding in bindings or ():
            if binding.host_port and not _is_port_range(binding.host_port):
                raise InvalidParameterError(f'invalid port specification: "{binding.host_port}"')
            if binding.host_ip:
                try:
                    ipaddress.ip_address(binding.host_ip)
                except ValueError:
                    raise InvalidParameterError(f"invalid IP address: {binding.host_ip}") from None
    return host.port_bindings
