"""Dockerfile lines that change an image's configuration (``docker import -c``, ``docker commit -c``). Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable

from msgspec.structs import replace

from store.errors import InvalidParameterError
from store.objects.containers import ContainerConfig, HealthConfig

ALLOWED = ("CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR").split()
DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?")


def apply(config: ContainerConfig, lines: Iterable[str]) -> ContainerConfig:
    """The configuration after some lines. InvalidParameterError for one that does not belong here or makes no sense."""
    for line in lines:
        instruction, _, rest = line.strip().partition(" ")
        word, rest = instruction.upper(), rest.strip()
        if word not in ALLOWED:
            raise InvalidParameterError(f"{instruction.lower()} is not a valid change command")
        if not rest:
            raise InvalidParameterError(f"{word} requires at least one argument")
        config = _apply_one(config, word, rest)
    return config


def _apply_one(config: ContainerConfig, word: str, rest: str) -> ContainerConfig:
    match word:
        case "CMD":
            return replace(config, cmd=_command(rest))
        case "ENTRYPOINT":
            return replace(config, entrypoint=_command(rest))
        case "ENV":
            return replace(config, env=_with_environment(config.env or [], _pairs(word, rest)))
        case "LABEL":
            return replace(config, labels={**(config.labels or {}), **dict(_pairs(word, rest))})
        case "EXPOSE":
            ports: dict[str, dict[str, str]] = {port if "/" in port else port + "/tcp": {} for port in rest.split()}
            return replace(config, exposed_ports={**(config.exposed_ports or {}), **ports})
        case "VOLUME":
            paths = _json_list(rest) or rest.split()
            return replace(config, volumes={**(config.volumes or {}), **{path: {} for path in paths}})
        case "USER":
            return replace(config, user=rest)
        case "WORKDIR":
            base = config.working_dir or "/"
            return replace(config, working_dir=rest if rest.startswith("/") else f"{base.rstrip('/')}/{rest}")
        case "STOPSIGNAL":
            return replace(config, stop_signal=rest)
        case "ONBUILD":
            return replace(config, on_build=[*(config.on_build or []), rest])
    return replace(config, healthcheck=_health(rest))


def _json_list(text: str) -> list[str] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _command(text: str) -> list[str]:
    return _json_list(text) or ["/bin/sh", "-c", text]


def _pairs(word: str, text: str) -> list[tuple[str, str]]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidParameterError(f"{word}: {error}") from None
    if "=" not in words[0]:
        name, _, value = text.partition(" ")
        if not value:
            raise InvalidParameterError(f"{word} must have two arguments")
        return [(name, value.strip())]
    pairs = []
    for item in words:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise InvalidParameterError(f'Syntax error - can\'t find = in "{item}". Must be of the form: name=value')
        pairs.append((name, value))
    return pairs


def _with_environment(env: list[str], pairs: list[tuple[str, str]]) -> list[str]:
    values = {item.partition("=")[0]: item for item in env}
    values.update({name: f"{name}={value}" for name, value in pairs})
    return list(values.values())


def _health(text: str) -> HealthConfig:
    if text.upper() == "NONE":
        return HealthConfig(test=["NONE"])
    options: dict[str, int] = {}
    while text.startswith("--"):
        option, _, text = text.partition(" ")
        name, _, value = option[2:].partition("=")
        if name == "retries" and value.isdecimal():
            options["retries"] = int(value)
        elif name in ("interval", "timeout", "start-period") and DURATION.fullmatch(value):
            hours, minutes, seconds, thousandths = (int(part or 0) for part in DURATION.fullmatch(value).groups())  # type: ignore[union-attr]
            total = (hours * 3600 + minutes * 60 + seconds) * 1000 + thousandths
            options[name.replace("-", "_")] = total * 1_000_000
        else:
            raise InvalidParameterError(f"Unknown flag: {name}")
    word, _, rest = text.strip().partition(" ")
    if word.upper() != "CMD" or not rest:
        raise InvalidParameterError(f"Unknown type {word!r} in HEALTHCHECK (try CMD)")
    listed = _json_list(rest)
    return HealthConfig(test=["CMD", *listed] if listed else ["CMD-SHELL", rest], **options)
