"""Dockerfile lines that change an image's configuration (``docker import -c``, ``docker commit -c``). Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from controllers.images import words
from store.errors import InvalidParameterError
from store.objects.containers import ContainerConfig, HealthConfig

SHELL = ("/bin/sh", "-c")
LEAST_INTERVAL = 1_000_000
UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)([^\d.]*)")

Change = Callable[[ContainerConfig, str], ContainerConfig]


def apply(config: ContainerConfig, lines: Sequence[str]) -> ContainerConfig:
    """The configuration after some lines.

    InvalidParameterError, in dockerd's words, for one that does not belong here or makes no sense.
    """
    if not lines:
        return config
    instructions = list(words.lines("\n".join(lines)))
    if not instructions:
        raise InvalidParameterError("file with no instructions")
    for word, _ in instructions:
        if word not in CHANGES:
            raise InvalidParameterError(f"{word} is not a valid change command")
    for word, rest in instructions:
        config = CHANGES[word](config, rest)
    return config


def _variables(config: ContainerConfig) -> Mapping[str, str]:
    return {name: value for name, _, value in (item.partition("=") for item in config.env or ())}


def _needs_arguments(word: str, found: Sequence[Any]) -> None:
    if not found:
        raise InvalidParameterError(f"{word} requires at least one argument")


def _command_line(config: ContainerConfig, rest: str) -> list[str]:
    listed = words.json_words(rest)
    if listed is not None:
        return listed
    return [*(config.shell or SHELL), rest] if rest else list(config.shell or SHELL)


def _cmd(config: ContainerConfig, rest: str) -> ContainerConfig:
    return replace(config, cmd=_command_line(config, rest))


def _entrypoint(config: ContainerConfig, rest: str) -> ContainerConfig:
    return replace(config, entrypoint=_command_line(config, rest) if rest and words.json_words(rest) != [] else None)


def _pairs(config: ContainerConfig, word: str, rest: str) -> list[tuple[str, str]]:
    """``name=value …``, or ``name value`` where the first word has no ``=``."""
    parts = words.split(rest)
    _needs_arguments(word, parts)
    if "=" not in parts[0]:
        raw = rest.split(None, 1)
        if len(raw) < 2:
            raise InvalidParameterError(f"{word} must have two arguments")
        pairs = [(raw[0], raw[1])]
    else:
        for part in parts:
            if "=" not in part:
                quoted = part.replace("\\", "\\\\").replace('"', '\\"')
                raise InvalidParameterError(
                    f'Syntax error - can\'t find = in "{quoted}". Must be of the form: name=value'
                )
        pairs = [(name, value) for name, _, value in (part.partition("=") for part in parts)]
    values = _variables(config)
    expanded = [(words.expand(name, values), words.expand(value, values)) for name, value in pairs]
    if any(not name for name, _ in expanded):
        raise InvalidParameterError(f"{word} names can not be blank")
    return expanded


def _env(config: ContainerConfig, rest: str) -> ContainerConfig:
    items = {item.partition("=")[0]: item for item in config.env or ()}
    items.update({name: f"{name}={value}" for name, value in _pairs(config, "ENV", rest)})
    return replace(config, env=list(items.values()))


def _label(config: ContainerConfig, rest: str) -> ContainerConfig:
    return replace(config, labels={**(config.labels or {}), **dict(_pairs(config, "LABEL", rest))})


def _expose(config: ContainerConfig, rest: str) -> ContainerConfig:
    ports = words.expand_words(rest, _variables(config))
    _needs_arguments("EXPOSE", ports)
    exposed = {name: {} for port in ports for name in _port_names(port)}  # type: dict[str, dict[str, Any]]
    return replace(config, exposed_ports={**(config.exposed_ports or {}), **exposed})


def _port_names(text: str) -> list[str]:
    """``80``, ``53/udp`` or ``8000-8010``, as ``port/protocol`` each."""
    numbers, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    numbers = numbers.rpartition(":")[2]
    if not numbers:
        raise InvalidParameterError(f"No port specified: {text}<empty>")
    first, dash, last = numbers.partition("-")
    bounds = (first, last) if dash else (first,)
    if any(not (re.fullmatch(r"[0-9]{1,9}", bound) and int(bound) < 65536) for bound in bounds):
        raise InvalidParameterError(f"Invalid containerPort: {numbers}")
    if protocol not in ("tcp", "udp", "sctp"):
        raise InvalidParameterError(f"Invalid proto: {protocol}")
    low, high = int(bounds[0]), int(bounds[-1])
    if high < low:
        raise InvalidParameterError(f"Invalid containerPort: {numbers}")
    return [f"{number}/{protocol}" for number in range(low, high + 1)]


def _volume(config: ContainerConfig, rest: str) -> ContainerConfig:
    listed = words.json_words(rest)
    values = _variables(config)
    paths = [words.expand(item, values) for item in (words.split(rest) if listed is None else listed)]
    _needs_arguments("VOLUME", paths)
    if any(not path.strip() for path in paths):
        raise InvalidParameterError("VOLUME specified can not be an empty string")
    return replace(config, volumes={**(config.volumes or {}), **{path.strip(): {} for path in paths}})


def _exactly_one(word: str, rest: str, config: ContainerConfig) -> str:
    if not rest:
        raise InvalidParameterError(f"{word} requires exactly one argument")
    return words.expand(rest, _variables(config))


def _user(config: ContainerConfig, rest: str) -> ContainerConfig:
    return replace(config, user=_exactly_one("USER", rest, config))


def _workdir(config: ContainerConfig, rest: str) -> ContainerConfig:
    path = _exactly_one("WORKDIR", rest, config)
    if not path.startswith("/"):
        path = posixpath.normpath(posixpath.join("/", config.working_dir, path))
    return replace(config, working_dir=path)


def _stopsignal(config: ContainerConfig, rest: str) -> ContainerConfig:
    return replace(config, stop_signal=_exactly_one("STOPSIGNAL", rest, config))


def _onbuild(config: ContainerConfig, rest: str) -> ContainerConfig:
    _needs_arguments("ONBUILD", rest)
    trigger = rest.split(None, 1)[0].upper()
    if trigger == "ONBUILD":
        raise InvalidParameterError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise InvalidParameterError(f"{trigger} isn't allowed as an ONBUILD trigger")
    return replace(config, on_build=[*(config.on_build or []), rest])


def _healthcheck(config: ContainerConfig, rest: str) -> ContainerConfig:
    flags: dict[str, str] = {}
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        name, equals, flags_value = flag[2:].partition("=")
        if name not in ("interval", "timeout", "start-period", "retries"):
            raise InvalidParameterError(f"Unknown flag: {name}")
        if not equals:
            raise InvalidParameterError(f"Missing a value on flag: {name}")
        flags[name], rest = flags_value, rest.lstrip()
    kind, _, command = rest.partition(" ")
    kind, command = kind.upper(), command.strip()
    _needs_arguments("HEALTHCHECK", kind)
    if kind == "NONE":
        if command:
            raise InvalidParameterError("HEALTHCHECK NONE takes no arguments")
        return replace(config, healthcheck=HealthConfig(test=["NONE"]))
    if kind != "CMD":
        raise InvalidParameterError(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)')
    listed = words.json_words(command)
    if not command or listed == []:
        raise InvalidParameterError("Missing command after HEALTHCHECK CMD")
    health = HealthConfig(
        test=["CMD-SHELL", command] if listed is None else ["CMD", *listed],
        interval=_interval("interval", flags),
        timeout=_interval("timeout", flags),
        start_period=_interval("start-period", flags),
        retries=_retries(flags.get("retries", "")),
    )
    return replace(config, healthcheck=health)


def _interval(name: str, flags: Mapping[str, str]) -> int:
    text = flags.get(name, "")
    if not text:
        return 0
    nanoseconds = duration(text)
    if nanoseconds < LEAST_INTERVAL:
        raise InvalidParameterError(f'Interval "{name}" cannot be less than 1ms')
    return nanoseconds


def duration(text: str) -> int:
    """Nanoseconds of a Go duration; InvalidParameterError in Go's words."""
    negative = text.startswith("-")
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    total, position = Decimal(0), 0
    for part in _PART.finditer(rest):
        if part.start() != position:
            break
        if not part[2]:
            raise InvalidParameterError(f'time: missing unit in duration "{text}"')
        if part[2] not in UNITS:
            raise InvalidParameterError(f'time: unknown unit "{part[2]}" in duration "{text}"')
        total += Decimal(part[1]) * UNITS[part[2]]
        position = part.end()
    if not rest or position != len(rest) or total >= 1 << 63:
        raise InvalidParameterError(f'time: invalid duration "{text}"')
    return -int(total) if negative else int(total)


def _retries(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        raise InvalidParameterError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if int(text) < 1:
        raise InvalidParameterError(f"--retries must be at least 1 (not {int(text)})")
    return int(text)


CHANGES: Mapping[str, Change] = {
    "cmd": _cmd,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "healthcheck": _healthcheck,
    "label": _label,
    "onbuild": _onbuild,
    "stopsignal": _stopsignal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}
