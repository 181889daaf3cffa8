"""What a container's log options mean: pure, in dockerd's words (moby: daemon/logger, jsonfilelog and local)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from store.errors import InvalidParameterError
from store.objects.containers import LogConfig

DEFAULT_DRIVER = "json-file"
LOG_OPTIONS = {
    "json-file": {"max-file", "max-size", "compress", "labels", "labels-regex", "env", "env-regex", "tag"},
    "local": {"max-file", "max-size", "compress"},
    "none": set[str](),
}
"""The options of each log driver that there is."""
_ANY_DRIVERS = {"mode", "max-buffer-size"}
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kKmMgGtTpP])?[iI]?[bB]?")
_LARGEST = (1 << 63) - 1
_TRUTHS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


@dataclass(frozen=True)
class Rotation:
    """A new file is begun when the present one has ``size`` bytes (0: never); ``files`` are kept, that one included.

    ``compress``: the kept ones are compressed.
    """

    size: int = 0
    files: int = 1
    compress: bool = False


def check(log: LogConfig) -> None:
    """InvalidParameterError for a driver that there is not, and for options that it has not or that cannot be."""
    kind = log.type or DEFAULT_DRIVER
    if kind not in LOG_OPTIONS:
        raise InvalidParameterError(f'error looking up logging plugin {kind}: plugin "{kind}" not found')
    if kind == "none":
        return
    options = log.config or {}
    _check_mode(options.get("mode", ""), options.get("max-buffer-size"))
    for option in options:
        if option not in LOG_OPTIONS[kind] | _ANY_DRIVERS:
            where = f"log driver {kind}" if kind == "local" else f"{kind} log driver"
            raise InvalidParameterError(f"unknown log opt '{option}' for {where}")
    for option in ("labels-regex", "env-regex"):
        try:
            re.compile(options.get(option, ""))
        except (re.error, OverflowError, RecursionError) as error:
            raise InvalidParameterError(f"error parsing regexp: {error}") from None
    rotation(log)


def _check_mode(mode: str, buffer: str | None) -> None:
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidParameterError(f"logger: logging mode not supported: {mode}")
    if buffer is None:
        return
    if mode != "non-blocking":
        raise InvalidParameterError("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
    try:
        _size(buffer)
    except InvalidParameterError as error:
        raise InvalidParameterError(f"error parsing option max-buffer-size: {error}") from None


def rotation(log: LogConfig) -> Rotation:
    """When a log begins a new file. InvalidParameterError for options that cannot be."""
    options = log.config or {}
    match log.type or DEFAULT_DRIVER:
        case "json-file":
            return _of_json_file(options)
        case "local":
            return _of_local(options)
    return Rotation()


def _of_json_file(options: dict[str, str]) -> Rotation:
    size, files = 0, 1
    if "max-size" in options:
        size = _size(options["max-size"])
        if not 0 < size <= _LARGEST:
            raise InvalidParameterError("max-size must be a positive number")
    if "max-file" in options:
        files = _count(options["max-file"])
        if files < 1:
            raise InvalidParameterError("max-file cannot be less than 1")
    compress = _truth(options["compress"]) if "compress" in options else False
    if compress and (files == 1 or not size):
        raise InvalidParameterError("compress cannot be true when max-file is less than 2 or max-size is not set")
    return Rotation(size, files, compress)


def _of_local(options: dict[str, str]) -> Rotation:
    size, files, compress = 20_000_000, 5, True
    for option, parse in (("max-size", _size), ("max-file", _count)):
        if option not in options:
            continue
        try:
            number = parse(options[option])
        except InvalidParameterError as error:
            raise InvalidParameterError(f"invalid value for {option}: {options[option]}: {error}") from None
        size, files = (number, files) if option == "max-size" else (size, number)
    if "compress" in options:
        try:
            compress = _truth(options["compress"])
        except InvalidParameterError as error:
            raise InvalidParameterError(f"error reading compress log option: {error}") from None
    if files < 0:
        raise InvalidParameterError("max file count cannot be less than 0")
    if compress and files <= 1:
        raise InvalidParameterError("compression cannot be enabled when max file count is 1")
    return Rotation(min(size, _LARGEST), max(files, 1), compress)


def _size(text: str) -> int:
    """A size in bytes, its units powers of a thousand (go-units: FromHumanSize)."""
    found = _SIZE.fullmatch(text)
    if found is None or not text.isascii() or len(text) > 64:
        raise InvalidParameterError(f"invalid size: '{text}'")
    return int(float(found[1]) * 1000 ** _UNITS[(found[2] or "").lower()])


def _count(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise InvalidParameterError(f'strconv.Atoi: parsing "{text}": invalid syntax')
    if len(text) > 18:
        raise InvalidParameterError(f'strconv.Atoi: parsing "{text}": value out of range')
    return int(text)


def _truth(text: str) -> bool:
    if text not in _TRUTHS:
        raise InvalidParameterError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return _TRUTHS[text]
