"""Query parameters, read as dockerd reads them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
import re2

from apiserver.gojson import decode_any
from apiserver.gotypes import kind_of
from store.errors import InvalidParameterError

_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FALSE = frozenset(("", "0", "no", "false", "none"))
_INT_MAX = 2**63
_QUIET = re2.Options()
_QUIET.log_errors = False


def quoted(text: str) -> str:
    """The text as Go's ``%q`` prints it."""
    return msgspec.json.encode(text).decode()


def parse_int(text: str) -> int:
    """Go's ``strconv.Atoi``; raises InvalidParameterError in its words."""
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise InvalidParameterError(f"strconv.Atoi: parsing {quoted(text)}: invalid syntax")
    number = int(text) if len(text) < 32 else _INT_MAX
    if not -_INT_MAX <= number < _INT_MAX:
        raise InvalidParameterError(f"strconv.Atoi: parsing {quoted(text)}: value out of range")
    return number


def _unescape(part: str) -> str:
    if "%" not in part:
        return part.replace("+", " ")
    wrong = _ESCAPE.search(part)
    if wrong:
        found = part[wrong.start() : wrong.start() + 3]
        raise InvalidParameterError(f"invalid URL escape {quoted(found)}")
    return unquote_to_bytes(part.replace("+", " ")).decode("utf-8", "replace")


class Filters:
    """The ``filters`` parameter: names with the values asked for, of which any may match."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = dict(values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __bool__(self) -> bool:
        return bool(self._values)

    def values(self, name: str) -> list[str]:
        """The values of a filter, in the order given; empty when it was not."""
        return self._values.get(name, [])

    def exact(self, name: str, actual: str) -> bool:
        """Whether a filter that is given names this value; true when it is not given (moby: ExactMatch)."""
        wanted = self._values.get(name)
        return not wanted or actual in wanted

    def match(self, name: str, actual: str) -> bool:
        """Like ``exact``, but values are also tried as regular expressions (moby: Match)."""
        wanted = self._values.get(name)
        if not wanted or actual in wanted:
            return True
        return any(self.pattern(pattern, actual) for pattern in wanted)

    @staticmethod
    def pattern(pattern: str, actual: str) -> bool:
        """Whether a value, taken as a regular expression, is found in a text; a broken expression never is.

        Go's expressions, matched as there in time that grows with the text alone: a client's could stop the daemon.
        """
        try:
            return re2.search(pattern, actual, _QUIET) is not None
        except (re2.error, UnicodeEncodeError):
            return False

    def labels(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether all ``key`` and ``key=value`` of a filter hold (moby: MatchKVList)."""
        for wanted in self._values.get(name, ()):
            key, equals, value = wanted.partition("=")
            if key not in labels or (equals and labels[key] != value):
                return False
        return True

    def flag(self, name: str, default: bool = False) -> bool:
        """A filter that is true or false; raises InvalidParameterError in dockerd's words on anything else."""
        wanted = self._values.get(name)
        if not wanted:
            return default
        truths = {"1": True, "true": True, "0": False, "false": False}
        answers = {truths.get(value) for value in wanted}
        if len(answers) != 1 or None in answers:
            raise InvalidParameterError(f"Invalid filter '{name}=[{' '.join(wanted)}]'")
        return answers == {True}

    def only(self, allowed: Collection[str]) -> Filters:
        """Itself; raises InvalidParameterError when another filter than those allowed is given."""
        for name in self._values:
            if name not in allowed:
                raise InvalidParameterError(f"Invalid filter '{name}'")
        return self


def parse_filters(text: str) -> Filters:
    """Filters from JSON: lists of values, or the objects of true that clients of API 1.21 sent.

    Raises InvalidParameterError in the words of Go's decoder.
    """
    if not text:
        return Filters({})
    try:
        value = decode_any(text.encode())
    except InvalidParameterError as error:
        # Go tells a text that is cut short from a stream that is.
        if error.message in ("EOF", "unexpected EOF"):
            raise InvalidParameterError("unexpected end of JSON input") from None
        raise
    if value is None:
        return Filters({})
    if not isinstance(value, dict):
        raise InvalidParameterError(_unmarshal(value, "map[string]map[string]bool"))
    return Filters({name: list(_filter_values(given)) for name, given in value.items()})


def _filter_values(given: Any) -> Iterable[str]:
    if isinstance(given, list) and all(isinstance(value, str) for value in given):
        return given
    if given is None:
        return ()
    if not isinstance(given, dict):
        raise InvalidParameterError(_unmarshal(given, "map[string]bool"))
    for wanted in given.values():
        if not isinstance(wanted, bool):
            raise InvalidParameterError(_unmarshal(wanted, "bool"))
    return [value for value, wanted in given.items() if wanted]


def _unmarshal(value: Any, go_type: str) -> str:
    return f"json: cannot unmarshal {kind_of(value)} into Go value of type {go_type}"


class Query:
    """The parameters of one request; what nobody asks for is ignored."""

    def __init__(self, raw: str) -> None:
        """``raw`` is the URL's part behind the ``?``; raises InvalidParameterError on a broken escape."""
        self.raw = raw
        self._values: dict[str, list[str]] = {}
        for pair in raw.split("&") if raw else ():
            if pair:
                key, _, value = pair.partition("=")
                self._values.setdefault(_unescape(key), []).append(_unescape(value))

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        """The first value; ``default`` when the parameter is absent."""
        values = self._values.get(name)
        return values[0] if values else default

    def many(self, name: str) -> list[str]:
        """All values, in order."""
        return list(self._values.get(name, ()))

    def flag(self, name: str, default: bool = False) -> bool:
        """False for empty, 0, no, false and none, whatever the case; all else is true (moby: BoolValue)."""
        values = self._values.get(name)
        return default if values is None else values[0].strip().lower() not in _FALSE

    def integer(self, name: str, default: int = 0) -> int:
        """A whole number; ``default`` when absent or empty. Raises InvalidParameterError in Go's words."""
        text = self.text(name)
        return parse_int(text) if text else default

    def filters(self, allowed: Collection[str] | None = None) -> Filters:
        """The ``filters`` parameter; raises InvalidParameterError when it is broken or has one that is not allowed."""
        filters = parse_filters(self.text("filters"))
        return filters if allowed is None else filters.only(allowed)
