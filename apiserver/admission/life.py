"""What a request of a container's life asks for, checked: pure, in dockerd's words."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from apiserver.admission.containers import check_name, signal_number
from apiserver.admission.hostconfig import HostFacts, admit
from apiserver.queries import Filters
from apiserver.timestamps import parse_moment
from apiserver.wire import versions
from apiserver.wire.container_life import UpdateRequest
from store.errors import ConflictError, InvalidParameterError, NotModifiedError
from store.objects import Container, ContainerSpec, HostConfig
from store.objects.containers import StopRequest

DEFAULT_GRACE = 10
LONGEST_LAST_GRACE = 60
"""Seconds; systemd kills a service that takes longer than the unit's TimeoutStopSec, the containers' state untold."""
PRUNE_FILTERS = frozenset({"until", "label", "label!"})
KILL = StopRequest(signal=int(signal.SIGKILL), timeout=-1)
"""A kill as a stop request: nothing comes after it."""

# What an update takes over where the request has it (API: ContainerUpdate); the rest of a HostConfig it ignores.
UPDATABLE = (
    "blkio_weight cpu_shares nano_cpus cpu_period cpu_quota cpuset_cpus cpuset_mems memory memory_swap "
    "memory_reservation kernel_memory cpu_realtime_period cpu_realtime_runtime"
).split()
_CONFLICTS = (
    ("nano_cpus", "cpu_period", "Nano CPUs cannot be updated as CPU Period has already been set"),
    ("nano_cpus", "cpu_quota", "Nano CPUs cannot be updated as CPU Quota has already been set"),
    ("cpu_period", "nano_cpus", "CPU Period cannot be updated as NanoCPUs has already been set"),
    ("cpu_quota", "nano_cpus", "CPU Quota cannot be updated as NanoCPUs has already been set"),
)


def started(container: Container) -> ContainerSpec:
    """The spec of a container that is to start. NotModifiedError when it runs, ConflictError when it cannot."""
    if container.status.phase == "paused":
        raise ConflictError("cannot start a paused container, try unpause instead")
    if container.running or container.status.phase == "restarting":
        raise NotModifiedError("container already started")
    if container.meta.deletion_requested_at is not None:
        raise ConflictError("container is marked for removal and cannot be started")
    spec = container.spec
    if spec.wanted == "running" and spec.starts > container.status.starts:
        # It is starting: who asks again waits for the same start.
        return spec
    return _running(spec, None)


def restarted(container: Container, grace: int | None) -> ContainerSpec:
    """The spec of a container that is to start anew, whether it runs or not."""
    if container.meta.deletion_requested_at is not None:
        raise ConflictError("container is marked for removal and cannot be started")
    return _running(container.spec, stop_request(container, grace))


def _running(spec: ContainerSpec, stop: StopRequest | None) -> ContainerSpec:
    return replace(spec, wanted="running", starts=spec.starts + 1, paused=False, manually_stopped=False, stop=stop)


def stopped(container: Container, stop: StopRequest) -> ContainerSpec:
    """The spec of a container that is to stop; who stops it by hand keeps ``unless-stopped`` from reviving it."""
    return replace(container.spec, wanted="stopped", paused=False, manually_stopped=True, stop=stop)


def stop_request(container: Container, grace: int | None) -> StopRequest:
    """With the container's own signal and, where none was asked for, its own grace in seconds."""
    config = container.spec.config
    if grace is None:
        grace = DEFAULT_GRACE if config.stop_timeout is None else config.stop_timeout
    return StopRequest(signal=signal_number(config.stop_signal or "SIGTERM"), timeout=grace)


def last_stop(container: Container) -> StopRequest:
    """How to stop a container when the machine stops, which does not wait for ever."""
    stop = stop_request(container, None)
    return replace(stop, timeout=LONGEST_LAST_GRACE if stop.timeout < 0 else min(stop.timeout, LONGEST_LAST_GRACE))


def kill_signal(text: str) -> int:
    """The signal of a kill, SIGKILL by default. InvalidParameterError."""
    if re.fullmatch(r"[0-9]{1,18}", text) and int(text) > signal.SIGRTMAX:
        raise InvalidParameterError(f"The linux daemon does not support signal {text}")
    return signal_number(text or "SIGKILL")


def check_running(container: Container) -> None:
    """ConflictError unless a client can do something to the running container."""
    if not container.running and container.status.phase != "restarting":
        raise ConflictError(f"Container {container.uid} is not running")


def paused(container: Container) -> ContainerSpec:
    """The spec of a container that is to be paused. ConflictError when it does not run or is paused."""
    check_running(container)
    if container.status.phase == "paused":
        raise ConflictError(f"Container {container.uid} is already paused")
    if container.status.phase == "restarting":
        raise ConflictError(f"Container {container.uid} is restarting, wait until the container is running")
    return replace(container.spec, paused=True)


def unpaused(container: Container) -> ContainerSpec:
    """The spec of a container that is to run on. ConflictError when it is not paused (dockerd answers 500)."""
    if container.status.phase != "paused":
        raise ConflictError(f"Container {container.uid} is not paused")
    return replace(container.spec, paused=False)


def check_removable(container: Container, *, force: bool) -> None:
    """ConflictError when a container runs and is not to be killed, or is being removed already."""
    if container.meta.deletion_requested_at is not None:
        raise ConflictError(f"removal of container {container.uid} is already in progress")
    state = container.status.phase
    if force or state not in ("running", "paused", "restarting"):
        return
    procedure = "Stop the container before attempting removal or force remove"
    if state == "paused":
        procedure = f"Unpause and then {procedure[0].lower()}{procedure[1:]}"
    raise ConflictError(f"You cannot remove a {state} container {container.uid}. {procedure}")


def new_name(container: Container, text: str) -> str:
    """The name that a rename asks for. InvalidParameterError when it is no name, or the present one."""
    name = text.removeprefix("/")
    if name == container.name:
        raise InvalidParameterError("Renaming a container with the same name as its current name")
    try:
        return check_name("/" + name)
    except InvalidParameterError as error:
        raise InvalidParameterError(f"Error when allocating new name: {error}") from None


def updated(
    container: Container, request: UpdateRequest, facts: HostFacts, api: tuple[int, int]
) -> tuple[HostConfig, list[str]]:
    """The host configuration with what an update changes, and dockerd's warnings.

    InvalidParameterError for values that cannot be, ConflictError for those that do not fit what is set.
    """
    given: dict[str, Any] = {name: getattr(request, name) for name in UPDATABLE if getattr(request, name)}
    alone = given if request.memory else {name: value for name, value in given.items() if name != "memory_swap"}
    _, warnings = admit(HostConfig(**alone, restart_policy=request.restart_policy), facts, api)
    if not facts.blkio_weight:
        given.pop("blkio_weight", None)
    host = container.spec.host

    def conflict(text: str) -> ConflictError:
        return ConflictError(f"Cannot update container {container.uid}: {text}")

    for new, old, text in _CONFLICTS:
        if getattr(request, new) > 0 and getattr(host, old) > 0:
            raise conflict(f"Conflicting options: {text}")
    if request.memory > host.memory_swap and not request.memory_swap and request.memory and host.memory_swap != -1:
        raise conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    if request.pids_limit is not None and versions.has(api, "update.pids-limit"):
        given["pids_limit"] = max(request.pids_limit, 0)
    if request.restart_policy.name:
        if host.auto_remove and request.restart_policy.name != "no":
            raise conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
        given["restart_policy"] = request.restart_policy
    return replace(host, **given), warnings


def prunable(filters: Filters) -> Callable[[Container], bool]:
    """Which of the containers that do not run a prune removes. InvalidParameterError for a broken ``until``."""
    until = filters.values("until")
    if len(until) > 1:
        raise InvalidParameterError("more than one until filter specified")
    moment = parse_moment(until[0]) if until else None

    def wanted(container: Container) -> bool:
        labels = container.spec.config.labels or {}
        if container.status.phase in ("running", "paused", "restarting"):
            return False
        if container.meta.deletion_requested_at is not None:
            return False
        if moment is not None and container.meta.created_at > moment:
            return False
        unwanted = any(
            key in labels and (not equals or labels[key] == value)
            for key, equals, value in (text.partition("=") for text in filters.values("label!"))
        )
        return filters.labels("label", labels) and not unwanted

    return wanted
