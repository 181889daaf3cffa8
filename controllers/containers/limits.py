"""Resource limits: from Docker's ``HostConfig`` to the runtime's ``linux.resources``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from store.errors import InvalidParameterError
from store.objects.containers import HostConfig, ThrottleDevice, WeightDevice

CPU_PERIOD = 100_000
"""The kernel's own period in microseconds, which ``NanoCpus`` is a share of."""


def resources(host: HostConfig) -> dict[str, Any]:
    """Memory, CPU, process and block I/O limits in the runtime's form, without the device rules.

    Zero and absent mean unlimited. InvalidParameterError for a block device that is not there.
    """
    found: dict[str, Any] = {"memory": _memory(host), "cpu": _cpu(host)}
    if host.pids_limit:
        found["pids"] = {"limit": host.pids_limit if host.pids_limit > 0 else -1}
    block = _block(host)
    if block:
        found["blockIO"] = block
    return found


def _memory(host: HostConfig) -> dict[str, Any]:
    memory: dict[str, Any] = {"disableOOMKiller": bool(host.oom_kill_disable)}
    if host.memory > 0:
        memory["limit"] = host.memory
    if host.memory_reservation > 0:
        memory["reservation"] = host.memory_reservation
    if host.memory_swap:
        memory["swap"] = host.memory_swap
    elif host.memory > 0:
        memory["swap"] = 2 * host.memory
    if host.memory_swappiness is not None and host.memory_swappiness >= 0:
        memory["swappiness"] = host.memory_swappiness
    if host.kernel_memory_tcp > 0:
        memory["kernelTCP"] = host.kernel_memory_tcp
    return memory


def _cpu(host: HostConfig) -> dict[str, Any]:
    cpu: dict[str, Any] = {"shares": max(host.cpu_shares, 0)}
    if host.nano_cpus > 0:
        cpu["period"] = CPU_PERIOD
        cpu["quota"] = host.nano_cpus * CPU_PERIOD // 1_000_000_000
    if host.cpu_period:
        cpu["period"] = host.cpu_period
    if host.cpu_quota:
        cpu["quota"] = host.cpu_quota
    if host.cpu_realtime_period:
        cpu["realtimePeriod"] = host.cpu_realtime_period
    if host.cpu_realtime_runtime:
        cpu["realtimeRuntime"] = host.cpu_realtime_runtime
    if host.cpuset_cpus:
        cpu["cpus"] = host.cpuset_cpus
    if host.cpuset_mems:
        cpu["mems"] = host.cpuset_mems
    return cpu


def _block(host: HostConfig) -> dict[str, Any]:
    block: dict[str, Any] = {}
    if host.blkio_weight:
        block["weight"] = host.blkio_weight
    if host.blkio_weight_device:
        block["weightDevice"] = [{**_numbers(entry), "weight": entry.weight} for entry in host.blkio_weight_device]
    rates: tuple[tuple[str, Sequence[ThrottleDevice] | None], ...] = (
        ("throttleReadBpsDevice", host.blkio_device_read_bps),
        ("throttleWriteBpsDevice", host.blkio_device_write_bps),
        ("throttleReadIOPSDevice", host.blkio_device_read_iops),
        ("throttleWriteIOPSDevice", host.blkio_device_write_iops),
    )
    for name, entries in rates:
        if entries:
            block[name] = [{**_numbers(entry), "rate": entry.rate} for entry in entries]
    return block


def _numbers(entry: ThrottleDevice | WeightDevice) -> dict[str, int]:
    try:
        number = os.stat(entry.path).st_rdev
    except OSError as error:
        raise InvalidParameterError(f"stat {entry.path}: {(error.strerror or str(error)).lower()}") from error
    return {"major": os.major(number), "minor": os.minor(number)}
