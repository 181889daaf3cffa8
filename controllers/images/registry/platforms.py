"""Platforms: ``os[/architecture[/variant]]`` as containerd reads and compares them. Pure but for ``local``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from store.errors import InvalidParameterError

SYSTEMS = frozenset("aix android darwin dragonfly freebsd linux netbsd openbsd plan9 solaris windows".split())
ARCHITECTURES = frozenset(
    "386 amd64 arm arm64 loong64 mips mipsle mips64 mips64le ppc64 ppc64le riscv64 s390x wasm".split()
)
ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
}
_COMPONENT = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Platform:
    """A platform in its usual spelling."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def normalised(cls, system: str, architecture: str, variant: str = "") -> Platform:
        """With aliases resolved and variants that mean nothing left out."""
        system, architecture, variant = system.lower(), architecture.lower(), variant.lower()
        if architecture in ALIASES:
            architecture, implied = ALIASES[architecture]
            variant = variant or implied
        if architecture == "arm64" and variant in ("8", "v8"):
            variant = ""
        if architecture == "amd64" and variant == "v1":
            variant = ""
        if architecture == "arm":
            variant = {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"}.get(variant, variant)
        return cls(system, architecture, variant)

    def suited_by(self, offered: Platform) -> int | None:
        """How well another platform's programs run here: 0 is best, None not at all."""
        if (self.os, self.architecture) != (offered.os, offered.architecture):
            return None
        if self.variant == offered.variant:
            return 0
        if self.architecture in ("arm", "arm64", "amd64"):
            mine, theirs = _level(self), _level(offered)
            if mine is not None and theirs is not None and theirs < mine:
                return mine - theirs
        return None

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def _level(platform: Platform) -> int | None:
    if not platform.variant:
        return {"arm64": 8, "amd64": 1}.get(platform.architecture)
    digits = platform.variant.removeprefix("v")
    return int(digits) if digits.isdecimal() and len(digits) < 4 else None


def local() -> Platform:
    """This machine's."""
    machine = os.uname()
    return Platform.normalised("linux", machine.machine)


def parse(text: str) -> Platform:
    """A platform as a client gives it. InvalidParameterError in dockerd's words."""
    parts = text.split("/")
    for part in parts:
        if not _COMPONENT.fullmatch(part):
            raise InvalidParameterError(
                f'"{part}" is an invalid component of "{text}": platform specifier component must match '
                '"^[A-Za-z0-9_-]+$": invalid argument'
            )
    if len(parts) > 3:
        raise InvalidParameterError(f'"{text}": cannot parse platform specifier: invalid argument')
    if len(parts) == 1:
        only = parts[0].lower()
        if only in SYSTEMS:
            here = local()
            return Platform(only, here.architecture, here.variant)
        candidate = Platform.normalised("linux", only)
        if candidate.architecture in ARCHITECTURES:
            return candidate
        raise InvalidParameterError(f'"{text}": unknown operating system or architecture: invalid argument')
    return Platform.normalised(*parts)
