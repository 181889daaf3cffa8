"""Device rules of a cgroup that was made again: version 1's words, and version 2's program run step by step."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from controllers.containers.device_filter import RUNTIME, Rule, apply, program, rules_of

MKNOD, READ, WRITE = 1, 2, 4
BLOCK, CHARACTER = 1, 2


def run(code: bytes, access: int, kind: int, major: int, minor: int) -> bool:
    """What the kernel's machine makes of a program; reaching its end without a verdict fails."""
    registers = [0] * 6
    context = {0: access << 16 | kind, 4: major, 8: minor}
    steps = list(struct.iter_unpack("<BBhi", code))
    position = 0
    while True:
        operation, pair, offset, value = steps[position]
        target, source = pair & 15, pair >> 4
        position += 1
        match operation:
            case 0x61:
                registers[target] = context[offset]
            case 0xBC:
                registers[target] = registers[source]
            case 0x54:
                registers[target] &= value
            case 0x74:
                registers[target] >>= value
            case 0xB7:
                registers[target] = value
            case 0x55:
                position += offset if registers[target] != value else 0
            case 0x15:
                position += offset if registers[target] == value else 0
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(hex(operation))


RULES = (
    Rule(False),
    Rule(True, "c", 1, 3),
    Rule(True, "c", 10, None),
    Rule(False, "c", 10, 229),
    Rule(True, "b", 8, 0, "r"),
    Rule(True, "c", access="m"),
    Rule(False, "b", 9, None, "w"),
)


@pytest.mark.parametrize(
    ("access", "kind", "major", "minor", "allowed"),
    [
        (READ | WRITE, CHARACTER, 1, 3, True),
        (READ, CHARACTER, 1, 4, False),
        (READ, BLOCK, 1, 3, False),
        (READ, CHARACTER, 10, 7, True),
        (READ, CHARACTER, 10, 229, False),
        (READ, BLOCK, 8, 0, True),
        (READ | WRITE, BLOCK, 8, 0, False),
        (MKNOD, CHARACTER, 77, 77, True),
        (MKNOD | READ, CHARACTER, 77, 77, False),
        (MKNOD, BLOCK, 77, 77, False),
    ],
)
def test_the_last_rule_that_fits_counts(access: int, kind: int, major: int, minor: int, allowed: bool) -> None:
    assert run(program(RULES), access, kind, major, minor) is allowed


def test_a_refusal_of_some_accesses_refuses_what_has_any_of_them() -> None:
    code = program((Rule(True), Rule(False, "b", 9, None, "w")))
    assert run(code, READ, BLOCK, 9, 1)
    assert not run(code, READ | WRITE, BLOCK, 9, 1)


def test_nothing_is_allowed_without_rules() -> None:
    assert not run(program(()), READ, CHARACTER, 1, 3)


def test_rules_are_those_of_the_bundle_and_what_every_runtime_allows(tmp_path: Path) -> None:
    devices = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rw"}]
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"linux": {"resources": {"devices": devices, "pids": {}}}}))
    assert rules_of(config) == (Rule(False), Rule(True, "c", 1, 5, "rw"), *RUNTIME)


def test_the_devices_controller_of_version_1_alone_gets_its_words(tmp_path: Path) -> None:
    devices = tmp_path / "devices"
    devices.mkdir()
    (devices / "devices.deny").touch()
    apply([devices], (Rule(False), Rule(True, "c", 1, None, "rm")))
    assert (devices / "devices.deny").read_text() == "a"
    assert (devices / "devices.allow").read_text() == "c 1:* rm"
