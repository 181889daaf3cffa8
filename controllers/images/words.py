"""Words of a Dockerfile line: splitting, quotes and variables (BuildKit: parser, shell lexer). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from store.errors import InvalidParameterError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]|[@*#?!$-]")


def lines(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile as (word in lower case, rest): without comments, continued lines joined."""
    pending = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        if not pending:
            line = line.lstrip()
        if line.rstrip().endswith("\\"):
            pending += line.rstrip()[:-1]
            continue
        pending += line
        if pending.strip():
            yield _instruction(pending)
        pending = ""
    if pending.strip():
        yield _instruction(pending)


def _instruction(line: str) -> tuple[str, str]:
    word, *rest = line.strip().split(None, 1)
    return word.lower(), rest[0].strip() if rest else ""


def split(text: str) -> list[str]:
    """Words as they stand, quotes and backslashes included."""
    words: list[str] = []
    word, quote, position = "", "", 0
    while position < len(text):
        character = text[position]
        position += 1
        if not quote and character.isspace():
            if word:
                words.append(word)
            word = ""
            continue
        word += character
        if character == "\\":
            word += text[position : position + 1]
            position += 1
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
    return [*words, word] if word else words


def json_words(text: str) -> list[str] | None:
    """The strings of a JSON array at the text's beginning; None when there is none."""
    text = text.lstrip()
    if not text.startswith("["):
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in value):
        raise InvalidParameterError("when using JSON array syntax, arrays must be comprised of strings only")
    return [str(item) for item in value]


class _Expansion:
    """One pass over a text, taking quotes off and putting variables in."""

    def __init__(self, text: str, values: Mapping[str, str]) -> None:
        self._text = text
        self._values = values
        self._at = 0

    def until(self, end: str) -> str:
        """The value up to an unquoted ``end`` (or to the text's end, where that is empty)."""
        found = ""
        while self._at < len(self._text):
            character = self._text[self._at]
            if end and character == end:
                return found
            self._at += 1
            if character == "'":
                found += self._single()
            elif character == '"':
                found += self._double()
            elif character == "\\":
                found += self._text[self._at : self._at + 1] or "\\"
                self._at += 1
            elif character == "$":
                found += self._variable()
            else:
                found += character
        if end:
            raise InvalidParameterError("unexpected end of statement while looking for matching }")
        return found

    def _single(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise InvalidParameterError("unexpected end of statement while looking for matching single-quote")
        found, self._at = self._text[self._at : end], end + 1
        return found

    def _double(self) -> str:
        found = ""
        while self._at < len(self._text):
            character = self._text[self._at]
            self._at += 1
            if character == '"':
                return found
            if character == "\\" and self._text[self._at : self._at + 1] in ('"', "$", "\\"):
                found += self._text[self._at]
                self._at += 1
            elif character == "$":
                found += self._variable()
            else:
                found += character
        raise InvalidParameterError("unexpected end of statement while looking for matching double-quote")

    def _variable(self) -> str:
        if not self._text.startswith("{", self._at):
            name = self._name()
            return self._values.get(name, "") if name else "$"
        self._at += 1
        name = self._name()
        if not name:
            raise InvalidParameterError("syntax error: bad substitution")
        value = self._values.get(name, "")
        if self._text.startswith((":-", ":+"), self._at):
            wanted = self._text[self._at + 1] == "-"
            self._at += 2
            other = self.until("}")
            value = (value or other) if wanted else (other if value else "")
        elif self._at >= len(self._text):
            raise InvalidParameterError("missing ':' in substitution")
        elif not self._text.startswith("}", self._at):
            raise InvalidParameterError(f"unsupported modifier ({self._text[self._at : self._at + 2]}) in substitution")
        self._at += 1
        return value

    def _name(self) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]


def expand(text: str, values: Mapping[str, str]) -> str:
    """The text without its quotes and backslashes, with ``$NAME``, ``${NAME}``, ``${NAME:-x}`` and ``${NAME:+x}``."""
    try:
        return _Expansion(text, values).until("")
    except InvalidParameterError as error:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        raise InvalidParameterError(f'failed to process "{quoted}": {error}') from None


def expand_words(text: str, values: Mapping[str, str]) -> list[str]:
    """The text's words, each expanded; those that come out empty are left out."""
    return [word for word in (expand(part, values) for part in split(text)) if word]
