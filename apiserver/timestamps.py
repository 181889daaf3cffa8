"""Times and durations as Docker's API spells them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from decimal import Decimal

from store.errors import InvalidParameterError

SECOND = 1_000_000_000
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h)")
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?(Z|[+-]\d\d:\d\d)?", re.ASCII
)


def rfc3339(ns: int) -> str:
    """RFC 3339 text in UTC with as many decimals as needed (Go's RFC3339Nano); Go's zero time for 0.

    ``ns`` is nanoseconds since the epoch.
    """
    return moment(ns) if ns else "0001-01-01T00:00:00Z"


def moment(ns: int) -> str:
    """The same where 0 is the epoch itself, as in the times of files."""
    seconds, fraction = divmod(ns, SECOND)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{fraction:09d}".rstrip("0") + "Z" if fraction else text + "Z"


def parse_unix(text: str) -> int:
    """Nanoseconds from ``seconds[.nanoseconds]``; raises InvalidParameterError in Go's words."""
    seconds, _, fraction = text.partition(".")
    for part in (seconds, *([fraction] if fraction else [])):
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", part):
            raise InvalidParameterError(f'strconv.ParseInt: parsing "{part}": invalid syntax')
    return int(seconds) * SECOND + (int(fraction[:9].ljust(9, "0")) if fraction else 0)


def parse_duration(text: str) -> int:
    """Nanoseconds from a Go duration such as ``1h30m`` or ``-1.5s``; raises ValueError."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total, position = Decimal(0), 0
    for part in _DURATION.finditer(rest):
        if part.start() != position:
            break
        number = re.match(r"[0-9.]+", part[0])
        assert number is not None
        total += Decimal(number[0]) * _UNITS[part[0][number.end() :]]
        position = part.end()
    if not rest or position != len(rest):
        raise ValueError(f"time: invalid duration {text!r}")
    return sign * int(total)


def parse_rfc3339(text: str) -> int:
    """Nanoseconds from RFC 3339 text, whose time, fraction and zone (default UTC) may be missing; raises ValueError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not a time: {text!r}")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC)
    ns = int(moment.timestamp()) * SECOND + int((fraction or "0").ljust(9, "0"))
    if zone and zone != "Z":
        offset = (int(zone[1:3]) * 3600 + int(zone[4:6]) * 60) * SECOND
        ns -= offset if zone[0] == "+" else -offset
    return ns


def parse_moment(text: str, now: int | None = None) -> int:
    """Nanoseconds since the epoch from a Unix time, RFC 3339 text, or a duration before now.

    This is what the prune filter ``until`` takes. Raises InvalidParameterError in dockerd's words.
    """
    try:
        return (time.time_ns() if now is None else now) - parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_rfc3339(text)
    except ValueError:
        pass
    try:
        return parse_unix(text)
    except InvalidParameterError:
        raise InvalidParameterError(f'failed to parse value as time or duration: "{text}"') from None
