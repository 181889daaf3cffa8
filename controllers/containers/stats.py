"""What a container uses, read from its cgroup and its network namespace, under the names of Docker's statistics.

Blocking, about a dozen small files: call it in a thread.
"""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import Any

from controllers.containers import cgroups

TICK = 10_000_000
"""Nanoseconds in the kernel's unit of /proc/stat (100 a second everywhere)."""
NOTHING: dict[str, Any] = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}
_BLOCK_KEYS = (
    "io_service_bytes_recursive",
    "io_serviced_recursive",
    "io_queue_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "io_time_recursive",
    "sectors_recursive",
)
NO_BLOCK: dict[str, Any] = dict.fromkeys(_BLOCK_KEYS)
_UNLIMITED = 1 << 62
# The kernel tells more from version to version; dockerd passes these on.
_MEMORY_KEYS = frozenset(
    "active_anon active_file cache dirty hierarchical_memory_limit hierarchical_memsw_limit inactive_anon "
    "inactive_file mapped_file pgfault pgmajfault pgpgin pgpgout rss rss_huge unevictable writeback".split()
)


def _read(place: Path | None, name: str) -> str:
    try:
        return (place / name).read_text() if place else ""
    except OSError:
        return ""


def _pairs(text: str) -> dict[str, int]:
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.strip().isdigit():
            found[key] = int(value)
    return found


def _number(text: str, otherwise: int = 0) -> int:
    return int(text) if text.strip().isdigit() else otherwise


@functools.cache
def host_memory() -> int:
    """The machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def system_cpu() -> int:
    """What all processors have done since boot, idling included, in nanoseconds."""
    with open("/proc/stat") as source:
        fields = source.readline().split()[1:8]
    return sum(map(int, fields)) * TICK


def sample(cgroup: str, pid: int, *, network: bool) -> dict[str, Any]:
    """One sample: ``pids_stats blkio_stats cpu_stats memory_stats`` and, for a network of its own, ``networks``."""
    unified = cgroups.version() == 2
    found = _unified(cgroup) if unified else _legacy(cgroup)
    found["cpu_stats"]["system_cpu_usage"] = system_cpu()
    found["cpu_stats"]["online_cpus"] = len(os.sched_getaffinity(0))
    if network:
        found["networks"] = networks(pid)
    return found


def _legacy(cgroup: str) -> dict[str, Any]:
    place = {name: cgroups.directory(name, cgroup) for name in ("cpu", "cpuacct", "memory", "pids", "blkio")}
    each = [int(value) for value in _read(place["cpuacct"], "cpuacct.usage_percpu").split()]
    modes = _pairs(_read(place["cpuacct"], "cpuacct.stat"))
    throttling = _pairs(_read(place["cpu"], "cpu.stat"))
    memory = _pairs(_read(place["memory"], "memory.stat"))
    limit = _number(_read(place["memory"], "memory.limit_in_bytes"), _UNLIMITED)
    failures = _number(_read(place["memory"], "memory.failcnt"))
    usage: dict[str, Any] = {
        "usage": _number(_read(place["memory"], "memory.usage_in_bytes")),
        "max_usage": _number(_read(place["memory"], "memory.max_usage_in_bytes")),
        "stats": {name: memory[name] for name in sorted(memory) if name.removeprefix("total_") in _MEMORY_KEYS},
        **({"failcnt": failures} if failures else {}),
        "limit": min(limit, host_memory()),
    }
    return {
        "pids_stats": _pids(place["pids"]),
        "blkio_stats": _legacy_block(place["blkio"]),
        "cpu_stats": {
            "cpu_usage": {
                "total_usage": _number(_read(place["cpuacct"], "cpuacct.usage")),
                "percpu_usage": each,
                "usage_in_kernelmode": modes.get("system", 0) * TICK,
                "usage_in_usermode": modes.get("user", 0) * TICK,
            },
            "throttling_data": {
                "periods": throttling.get("nr_periods", 0),
                "throttled_periods": throttling.get("nr_throttled", 0),
                "throttled_time": throttling.get("throttled_time", 0),
            },
        },
        "memory_stats": usage,
    }


def _pids(place: Path | None) -> dict[str, int]:
    found = {"current": _number(_read(place, "pids.current"))}
    limit = _read(place, "pids.max").strip()
    if limit.isdigit():
        found["limit"] = int(limit)
    return found


def _legacy_block(place: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = {key: [] for key in _BLOCK_KEYS}
    files = {
        "io_service_bytes_recursive": "blkio.throttle.io_service_bytes_recursive",
        "io_serviced_recursive": "blkio.throttle.io_serviced_recursive",
    }
    for key, name in files.items():
        for line in _read(place, name).splitlines():
            words = line.split()
            if len(words) == 3:
                found[key].append(_operation(words[0], words[1], int(words[2])))
    return found


def _operation(device: str, operation: str, value: int) -> dict[str, Any]:
    major, _, minor = device.partition(":")
    return {"major": int(major), "minor": int(minor), "op": operation, "value": value}


def _unified(cgroup: str) -> dict[str, Any]:
    place = cgroups.directory("", cgroup)
    cpu = _pairs(_read(place, "cpu.stat"))
    memory = _pairs(_read(place, "memory.stat"))
    limit = _number(_read(place, "memory.max"), _UNLIMITED)
    events = _pairs(_read(place, "memory.events"))
    block: dict[str, Any] = dict.fromkeys(_BLOCK_KEYS)
    block["io_service_bytes_recursive"] = []
    block["io_serviced_recursive"] = None
    for line in _read(place, "io.stat").splitlines():
        device, *words = line.split()
        values = dict(word.split("=", 1) for word in words if "=" in word)
        for name, operation in (("rbytes", "read"), ("wbytes", "write")):
            if name in values and ":" in device:
                block["io_service_bytes_recursive"].append(_operation(device, operation, int(values[name])))
    usage: dict[str, Any] = {
        "usage": _number(_read(place, "memory.current")),
        "stats": dict(sorted(memory.items())),
        **({"failcnt": events["max"]} if events.get("max") else {}),
        "limit": min(limit, host_memory()),
    }
    return {
        "pids_stats": _pids(place),
        "blkio_stats": block,
        "cpu_stats": {
            "cpu_usage": {
                "total_usage": cpu.get("usage_usec", 0) * 1000,
                "usage_in_kernelmode": cpu.get("system_usec", 0) * 1000,
                "usage_in_usermode": cpu.get("user_usec", 0) * 1000,
            },
            "throttling_data": {
                "periods": cpu.get("nr_periods", 0),
                "throttled_periods": cpu.get("nr_throttled", 0),
                "throttled_time": cpu.get("throttled_usec", 0) * 1000,
            },
        },
        "memory_stats": usage,
    }


def networks(pid: int) -> dict[str, dict[str, int]]:
    """The counters of each interface but the loopback in the network namespace of ``pid``."""
    found: dict[str, dict[str, int]] = {}
    for line in _read(Path(f"/proc/{pid}/net"), "dev").splitlines()[2:]:
        name, _, rest = line.partition(":")
        name = name.strip()
        values = [int(value) for value in rest.split()]
        if name == "lo" or len(values) < 12:
            continue
        found[name] = {
            "rx_bytes": values[0],
            "rx_packets": values[1],
            "rx_errors": values[2],
            "rx_dropped": values[3],
            "tx_bytes": values[8],
            "tx_packets": values[9],
            "tx_errors": values[10],
            "tx_dropped": values[11],
        }
    return found


def now() -> int:
    """The moment of a sample, in nanoseconds since the epoch."""
    return time.time_ns()
