"""Which devices a cgroup lets its processes use: rules as the runtime was given them, and put into force.

On version 1 by its files (kernel documentation, cgroup-v1/devices), on version 2 by a program that the kernel asks for
each access (bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE). Only for cgroups that had to be made again: else the runtime does it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from controllers.containers import cgroups

_PROGRAM_LOAD, _PROGRAM_ATTACH = 5, 8
_CGROUP_DEVICE_PROGRAM, _CGROUP_DEVICE_ATTACH, _ALLOW_MULTI = 15, 6, 2
_SYS_BPF = {"x86_64": 321, "aarch64": 280}
_KINDS = {"b": 1, "c": 2}
_ACCESSES = {"m": 1, "r": 2, "w": 4}
_LOAD_WORD, _COPY, _AND, _SHIFT, _SET, _UNLESS, _IF, _EXIT = 0x61, 0xBC, 0x54, 0x74, 0xB7, 0x55, 0x15, 0x95
_RESULT, _CONTEXT, _KIND, _ACCESS, _MAJOR, _MINOR = range(6)
_libc = ctypes.CDLL(None, use_errno=True)


class Rule(msgspec.Struct, frozen=True):
    """One rule of OCI's ``linux.resources.devices``; of those that fit, the last one counts."""

    allow: bool
    type: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"

    @property
    def text(self) -> str:
        """As version 1 writes it; the rule for everything has a word of its own."""
        if self.type == "a":
            return "a"
        major, minor = ("*" if number is None or number < 0 else str(number) for number in (self.major, self.minor))
        return f"{self.type} {major}:{minor} {self.access}"


RUNTIME = (
    Rule(True, "c", access="m"),
    Rule(True, "b", access="m"),
    *(Rule(True, "c", *numbers) for numbers in ((1, 3), (1, 8), (1, 7), (5, 0), (1, 5), (1, 9), (136, None), (5, 2))),
    Rule(True, "c", 10, 200),
)
"""What each runtime lets every container use besides (runc: AllowedDevices)."""


class _Resources(msgspec.Struct):
    devices: tuple[Rule, ...] = ()


class _Linux(msgspec.Struct):
    resources: _Resources


class _Config(msgspec.Struct):
    linux: _Linux


def rules_of(config: Path) -> tuple[Rule, ...]:
    """The rules of a container, from its bundle's ``config.json``. OSError or msgspec.DecodeError when it is broken."""
    given = msgspec.json.decode(config.read_bytes(), type=_Config).linux.resources.devices
    return (*given, *RUNTIME)


def apply(places: Iterable[Path], rules: Sequence[Rule]) -> None:
    """Put rules into force for new cgroups; those of other controllers are passed over. OSError."""
    for place in places:
        if (place / "devices.deny").exists():
            for rule in rules:
                (place / ("devices.allow" if rule.allow else "devices.deny")).write_text(rule.text)
        elif cgroups.version() == 2:
            attach(place, program(rules))


def program(rules: Sequence[Rule]) -> bytes:
    """The kernel's instructions for the rules: 1 allows an access, 0 refuses it."""
    code = [
        _instruction(_LOAD_WORD, _KIND, _CONTEXT),
        _instruction(_AND, _KIND, value=0xFFFF),
        _instruction(_LOAD_WORD, _ACCESS, _CONTEXT),
        _instruction(_SHIFT, _ACCESS, value=16),
        _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, offset=4),
        _instruction(_LOAD_WORD, _MINOR, _CONTEXT, offset=8),
    ]
    for rule in reversed(rules):
        block = _block(rule)
        code += block
        if len(block) == len(_verdict(rule)):
            # The kernel takes no program with instructions that nothing leads to.
            return b"".join(code)
    return b"".join([*code, _instruction(_SET, _RESULT), _instruction(_EXIT)])


def _block(rule: Rule) -> list[bytes]:
    """Returns the rule's verdict if it fits, else goes on behind itself."""
    verdict = _verdict(rule)
    tests: list[tuple[int, int, int]] = []
    if rule.type in _KINDS:
        tests.append((_UNLESS, _KIND, _KINDS[rule.type]))
    tests += [
        (_UNLESS, register, number)
        for register, number in ((_MAJOR, rule.major), (_MINOR, rule.minor))
        if number is not None and number >= 0
    ]
    mask = sum(_ACCESSES[letter] for letter in set(rule.access))
    masked: list[bytes] = []
    if mask != sum(_ACCESSES.values()):
        # To allow, all that is asked for must be in the rule; to refuse, any of it.
        masked = [
            _instruction(_COPY, _RESULT, _ACCESS),
            _instruction(_AND, _RESULT, value=mask if not rule.allow else mask ^ 7),
            _instruction(_UNLESS if rule.allow else _IF, _RESULT, offset=len(verdict)),
        ]
    behind = len(tests) + len(masked) + len(verdict)
    code = [
        _instruction(test, register, value=number, offset=behind - position)
        for position, (test, register, number) in enumerate(tests, 1)
    ]
    return [*code, *masked, *verdict]


def _verdict(rule: Rule) -> list[bytes]:
    return [_instruction(_SET, _RESULT, value=int(rule.allow)), _instruction(_EXIT)]


def _instruction(code: int, target: int = 0, source: int = 0, *, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | target, offset, value)


def attach(place: Path, instructions: bytes) -> None:
    """Have the kernel ask a program for each access of the cgroup's processes to a device. OSError."""
    code, licence = ctypes.create_string_buffer(instructions, len(instructions)), ctypes.create_string_buffer(b"MIT")
    load = struct.pack(
        "=IIQQ104x",
        _CGROUP_DEVICE_PROGRAM,
        len(instructions) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licence),
    )
    loaded = _bpf(_PROGRAM_LOAD, load)
    try:
        group = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _bpf(_PROGRAM_ATTACH, struct.pack("=IIII112x", group, loaded, _CGROUP_DEVICE_ATTACH, _ALLOW_MULTI))
        finally:
            os.close(group)
    finally:
        os.close(loaded)


def _bpf(command: int, attributes: bytes) -> int:
    number = _SYS_BPF.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, "bpf on this architecture")
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = int(_libc.syscall(number, command, buffer, len(attributes)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "bpf")
    return result
