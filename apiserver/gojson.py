"""JSON as Go's ``encoding/json`` reads it: what is accepted, and the words for what is not.

Clients were written against dockerd, so its leniency is part of the contract: keys match whatever their case, null
leaves a field as it was, and what follows the first value is ignored. (encoding/json, Unmarshal and Decoder.)
"""

from __future__ import annotations

import re
from typing import Any, NoReturn, TypeVar

import msgspec

from apiserver.gotypes import conform
from store.errors import InvalidParameterError

T = TypeVar("T")

MAX_DEPTH = 500
_SPACE = " \t\r\n"
_NUMBER_STATES = {
    "-": ("0123456789", "in numeric literal"),
    ".": ("0123456789", "after decimal point in numeric literal"),
    "e": ("+-0123456789", "in exponent of numeric literal"),
    "sign": ("0123456789", "in exponent of numeric literal"),
}
_STRING = re.compile(r'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(r"[0-9]*")


def decode(body: bytes, kind: type[T]) -> T:
    """A value of a struct type from the first JSON value in ``body``.

    Raises InvalidParameterError in the words of Go's decoder.
    """
    value = conform(decode_any(body), kind)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidParameterError(f"json: {error}") from None


def decode_any(body: bytes) -> Any:
    """Plain values from the first JSON value in ``body``; raises InvalidParameterError in the words of Go's decoder."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body.decode("utf-8", "replace")
    end = _Scanner(text).value_end()
    try:
        return msgspec.json.decode(text[:end])
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidParameterError(f"json: {error}") from None


def _quoted_character(character: str) -> str:
    if character in "'\\":
        return f"'\\{character}'"
    if character == '"':
        return "'\"'"
    if character < " " or character == "\x7f":
        named = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
        escaped = named.get(character) or f"\\x{ord(character):02x}"
        return f"'{escaped}'"
    return f"'{character}'"


class _Scanner:
    """Finds the end of the first value, or the first character that Go's decoder would not take."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def value_end(self) -> int:
        stack: list[str] = []
        self._skip_space()
        if self._at == len(self._text):
            raise InvalidParameterError("EOF")
        while True:
            character = self._peek()
            if character in "{[":
                self._at += 1
                if len(stack) >= MAX_DEPTH:
                    raise InvalidParameterError(f"invalid character '{character}' exceeded max depth")
                self._skip_space()
                closing = "}" if character == "{" else "]"
                if self._peek() == closing:
                    self._at += 1
                else:
                    stack.append(closing)
                    if closing == "}":
                        self._key()
                    continue
            else:
                self._scalar(character)
            if not self._next_element(stack):
                return self._at

    def _next_element(self, stack: list[str]) -> bool:
        while stack:
            self._skip_space()
            character = self._peek()
            self._at += 1
            if character == ",":
                self._skip_space()
                if stack[-1] == "}":
                    self._key()
                return True
            if character != stack[-1]:
                where = "object key:value pair" if stack[-1] == "}" else "array element"
                self._fail(f"after {where}", -1)
            stack.pop()
        return False

    def _key(self) -> None:
        self._skip_space()
        if self._peek() != '"':
            self._fail("looking for beginning of object key string")
        self._string()
        self._skip_space()
        if self._peek() != ":":
            self._fail("after object key")
        self._at += 1
        self._skip_space()

    def _scalar(self, character: str) -> None:
        if character == '"':
            self._string()
        elif character in "-0123456789":
            self._number()
        elif character in "tfn":
            self._word({"t": "true", "f": "false", "n": "null"}[character])
        else:
            self._fail("looking for beginning of value")

    def _word(self, word: str) -> None:
        for expected in word:
            if self._peek() != expected:
                self._fail(f"in literal {word} (expecting {_quoted_character(expected)})")
            self._at += 1

    def _string(self) -> None:
        self._at += 1
        while True:
            match = _STRING.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            character = self._peek()
            if character == '"':
                self._at += 1
                return
            if character != "\\":
                self._fail("in string literal")
            self._at += 1
            escape = self._peek()
            if escape not in '"\\/bfnrtu':
                self._fail("in string escape code")
            self._at += 1
            if escape == "u":
                for _ in range(4):
                    if self._peek() not in "0123456789abcdefABCDEF":
                        self._fail("in \\u hexadecimal character escape")
                    self._at += 1

    def _number(self) -> None:
        if self._peek() == "-":
            self._at += 1
            self._expect("-")
        if self._peek() == "0":
            self._at += 1
        else:
            self._digits()
        if self._next_is("."):
            self._at += 1
            self._expect(".")
            self._digits()
        if self._next_is("eE"):
            self._at += 1
            self._expect("e")
            if self._next_is("+-"):
                self._at += 1
                self._expect("sign")
            self._digits()

    def _digits(self) -> None:
        match = _DIGITS.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _expect(self, state: str) -> None:
        allowed, where = _NUMBER_STATES[state]
        if self._peek() not in allowed:
            self._fail(where)

    def _next_is(self, characters: str) -> bool:
        return self._at < len(self._text) and self._text[self._at] in characters

    def _skip_space(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in _SPACE:
            self._at += 1

    def _peek(self) -> str:
        if self._at >= len(self._text):
            raise InvalidParameterError("unexpected EOF")
        return self._text[self._at]

    def _fail(self, where: str, offset: int = 0) -> NoReturn:
        character = self._text[self._at + offset]
        raise InvalidParameterError(f"invalid character {_quoted_character(character)} {where}")
