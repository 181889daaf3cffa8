"""What this machine is and can do, read once: for ``GET /info`` and ``GET /version``."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from apiserver.preflight import find_program

_CGROUPS = Path("/sys/fs/cgroup")
_BACKING = {"ext2": "extfs", "ext3": "extfs", "ext4": "extfs"}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_PROBE_TIMEOUT = 5.0


@dataclass(frozen=True)
class Cgroups:
    """Which limits the kernel can set; ``version`` is 1 or 2."""

    version: str
    memory_limit: bool
    swap_limit: bool
    kernel_memory: bool
    kernel_memory_tcp: bool
    cfs_period: bool
    cfs_quota: bool
    shares: bool
    cpuset: bool
    pids: bool
    oom_kill_disable: bool


@dataclass(frozen=True)
class HostInfo:
    """Facts that do not change while the daemon runs. ``memory`` in bytes."""

    engine_id: str
    kernel: str
    operating_system: str
    os_version: str
    machine: str
    architecture: str
    name: str
    cpus: int
    memory: int
    backing_filesystem: str
    cgroups: Cgroups
    seccomp: bool
    init_binary: str
    init_version: str


def read_host(data_root: Path) -> HostInfo:
    """Looks at this machine; blocks for some milliseconds (reads files, asks tini for its version)."""
    uname = os.uname()
    release = _os_release()
    init = find_program("tini-static") or find_program("tini") or find_program("docker-init") or ""
    return HostInfo(
        engine_id=_engine_id(data_root),
        kernel=uname.release,
        operating_system=release.get("PRETTY_NAME", "Linux"),
        os_version=release.get("VERSION_ID", ""),
        machine=uname.machine,
        architecture=_ARCHITECTURES.get(uname.machine, uname.machine),
        name=uname.nodename,
        cpus=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        backing_filesystem=_backing_filesystem(data_root),
        cgroups=_cgroups(),
        seccomp=_seccomp(),
        init_binary=Path(init).name,
        init_version=_program_version(init),
    )


def flag_file(path: str) -> bool:
    """Whether a file of /proc/sys says 1."""
    try:
        return Path(path).read_text().strip() == "1"
    except OSError:
        return False


def _engine_id(data_root: Path) -> str:
    """A name for this engine that lasts as long as its data; made at the first start, in the shape of dockerd's."""
    path = data_root / "engine-id"
    try:
        found = path.read_text().strip()
    except OSError:
        found = ""
    if not found:
        digits = (uuid.uuid4().hex + uuid.uuid4().hex)[:48].upper()
        found = ":".join(re.findall("....", digits))
        temporary = path.with_suffix(".new")
        temporary.write_text(found + "\n")
        temporary.replace(path)
    return found


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _program_version(program: str) -> str:
    if not program:
        return ""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_PROBE_TIMEOUT)
    except (OSError, subprocess.SubprocessError):
        return ""
    match = re.search(r"(\d+\.\d+\.\d+)", said.stdout + said.stderr)
    return match[1] if match else ""


def _backing_filesystem(data_root: Path) -> str:
    device = data_root.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[2] == wanted:
            kind = rest.split()[0]
            return _BACKING.get(kind, kind)
    return "<unknown>"


def _seccomp() -> bool:
    return "\nSeccomp:" in Path("/proc/self/status").read_text()


def _cgroups() -> Cgroups:
    unified = _CGROUPS / "cgroup.controllers"
    if unified.exists():
        controllers = unified.read_text().split()
        swap = any(_CGROUPS.glob("*/memory.swap.max"))
        return Cgroups(
            version="2",
            memory_limit="memory" in controllers,
            swap_limit="memory" in controllers and swap,
            kernel_memory=False,
            kernel_memory_tcp=False,
            cfs_period="cpu" in controllers,
            cfs_quota="cpu" in controllers,
            shares="cpu" in controllers,
            cpuset="cpuset" in controllers,
            pids="pids" in controllers,
            oom_kill_disable=False,
        )

    def has(*names: str) -> bool:
        return any((_CGROUPS / name).exists() for name in names)

    return Cgroups(
        version="1",
        memory_limit=has("memory/memory.limit_in_bytes"),
        swap_limit=has("memory/memory.memsw.limit_in_bytes"),
        kernel_memory=has("memory/memory.kmem.limit_in_bytes"),
        kernel_memory_tcp=has("memory/memory.kmem.tcp.limit_in_bytes"),
        cfs_period=has("cpu/cpu.cfs_period_us", "cpu,cpuacct/cpu.cfs_period_us"),
        cfs_quota=has("cpu/cpu.cfs_quota_us", "cpu,cpuacct/cpu.cfs_quota_us"),
        shares=has("cpu/cpu.shares", "cpu,cpuacct/cpu.shares"),
        cpuset=has("cpuset/cpuset.cpus"),
        pids=has("pids"),
        oom_kill_disable=has("memory/memory.oom_control"),
    )
