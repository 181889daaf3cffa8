"""The seccomp filter of a container: the distribution's maintained profile, resolved for this machine and container.

The runtime compiles the filter anew for each container and each exec, and that is a third of what they cost. So the
resolved profile is small: no names the machine's libseccomp would skip anyway, no rule that says what the default says
already, no architecture whose system calls the kernel does not have. ``tests/unit/runtime`` shows that the decisions
stay the same.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import platform
from pathlib import Path
from typing import Any

from store.errors import InvalidParameterError

DEFAULT_PROFILE = Path("/usr/share/containers/seccomp.json")
"""Debian's golang-github-containers-common installs it here."""

GO_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "i686": "x86",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}
_NATIVE = {
    "x86_64": "SCMP_ARCH_X86_64",
    "aarch64": "SCMP_ARCH_AARCH64",
    "armv7l": "SCMP_ARCH_ARM",
    "i686": "SCMP_ARCH_X86",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "s390x": "SCMP_ARCH_S390X",
    "riscv64": "SCMP_ARCH_RISCV64",
}

Profile = dict[str, Any]


def resolve(
    profile: Profile, capabilities: frozenset[str], machine: str, *, x32: bool, kernel: tuple[int, int]
) -> Profile:
    """The OCI form of a Docker profile for a container with ``capabilities`` on ``machine`` (as uname has it).

    ``includes`` and ``excludes`` (capabilities, architectures, minimal kernel) are decided here. ``x32`` says whether
    the kernel has the x32 system calls.
    """
    default = profile["defaultAction"]
    default_errno = profile.get("defaultErrnoRet")
    rules: dict[tuple[Any, ...], Profile] = {}
    for rule in profile.get("syscalls") or ():
        if not _applies(rule, capabilities, GO_ARCHITECTURES.get(machine, machine), kernel):
            continue
        names = rule.get("names") or ([rule["name"]] if rule.get("name") else [])
        arguments = rule.get("args") or []
        errno = rule.get("errnoRet")
        if not arguments and rule["action"] == default and errno == default_errno:
            continue
        if arguments:
            for name in names:
                rules[(len(rules),)] = _rule([name], rule["action"], errno, arguments)
            continue
        merged = rules.setdefault((rule["action"], errno), _rule([], rule["action"], errno, []))
        merged["names"] += [name for name in names if name not in merged["names"]]
    resolved: Profile = {"defaultAction": default, "architectures": _architectures(profile, machine, x32)}
    if default_errno is not None:
        resolved["defaultErrnoRet"] = default_errno
    if profile.get("flags"):
        resolved["flags"] = profile["flags"]
    resolved["syscalls"] = [{**rule, "names": _ordered(rule["names"])} for rule in rules.values()]
    resolved["syscalls"] = [rule for rule in resolved["syscalls"] if rule["names"]]
    return resolved


@functools.cache
def _libseccomp() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None


@functools.cache
def number(name: str) -> int | None:
    """A system call's number as libseccomp knows it (negative: only another architecture has it); None for unknown."""
    library = _libseccomp()
    if library is None:
        return 0
    found: int = library.seccomp_syscall_resolve_name(name.encode())
    return None if found == -1 else found


def _ordered(names: list[str]) -> list[str]:
    known = [(found, name) for name in names if (found := number(name)) is not None]
    return [name for _, name in sorted(known, key=lambda pair: pair[0])]


def _rule(names: list[str], action: str, errno: int | None, arguments: list[Profile]) -> Profile:
    rule: Profile = {"names": names, "action": action}
    if errno is not None:
        rule["errnoRet"] = errno
    if arguments:
        rule["args"] = arguments
    return rule


def _applies(rule: Profile, capabilities: frozenset[str], architecture: str, kernel: tuple[int, int]) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("arches") and architecture not in includes["arches"]:
        return False
    if architecture in (excludes.get("arches") or ()):
        return False
    if not all(name in capabilities for name in includes.get("caps") or ()):
        return False
    if any(name in capabilities for name in excludes.get("caps") or ()):
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor.split(".")[0] or 0)


def _architectures(profile: Profile, machine: str, x32: bool) -> list[str]:
    native = _NATIVE.get(machine)
    if profile.get("architectures"):
        found: list[str] = list(profile["architectures"])
    else:
        found = next(
            (
                [entry["architecture"], *(entry.get("subArchitectures") or ())]
                for entry in profile.get("archMap") or ()
                if entry["architecture"] == native
            ),
            [native] if native else [],
        )
    return found if x32 else [name for name in found if name != "SCMP_ARCH_X32"]


@functools.cache
def kernel_has_x32() -> bool:
    """Whether this kernel was built with the x32 ABI; unknown counts as yes."""
    for path in (f"/boot/config-{platform.release()}", "/proc/config.gz"):
        try:
            data = Path(path).read_bytes()
        except OSError:
            continue
        if path.endswith(".gz"):
            import gzip

            data = gzip.decompress(data)
        return b"CONFIG_X86_X32_ABI=y" in data or b"CONFIG_X86_X32=y" in data
    return True


@functools.cache
def kernel_version() -> tuple[int, int]:
    """The running kernel's major and minor number."""
    return _version(os.uname().release.split("-")[0])


@functools.cache
def default_for(capabilities: frozenset[str]) -> Profile | None:
    """The default filter for a container with these capabilities, or None where no profile is installed."""
    try:
        profile = json.loads(DEFAULT_PROFILE.read_bytes())
    except FileNotFoundError:
        return None
    return resolve(profile, capabilities, platform.machine(), x32=kernel_has_x32(), kernel=kernel_version())


@functools.lru_cache(maxsize=32)
def custom(text: str, capabilities: frozenset[str]) -> Profile | None:
    """A client's own profile (JSON text) as a filter, None when it filters nothing. InvalidParameterError if broken."""
    try:
        profile = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidParameterError(f"Decoding seccomp profile failed: {error}") from error
    if not isinstance(profile, dict):
        raise InvalidParameterError(
            "Decoding seccomp profile failed: json: cannot unmarshal into Go value of type seccomp.Seccomp"
        )
    if not profile.get("defaultAction"):
        return None
    if profile.get("architectures") and profile.get("archMap"):
        raise InvalidParameterError("use either 'architectures' or 'archMap'")
    try:
        return resolve(profile, capabilities, platform.machine(), x32=True, kernel=kernel_version())
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidParameterError(f"Decoding seccomp profile failed: {error}") from error
