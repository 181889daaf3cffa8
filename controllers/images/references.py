"""Names of images: ``[registry/]path[:tag][@digest]``, as distribution's reference grammar has them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache

from store.errors import InvalidParameterError

DEFAULT_REGISTRY = "docker.io"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_HOST}(?:\.{_HOST})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[+._-][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
IDENTIFIER = re.compile(r"[0-9a-f]{64}")
SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
LONGEST_NAME = 255
_GROUP = re.compile(r"(\^?)((?:[^\]\\]|\\.)+)\]")


@dataclass(frozen=True)
class Reference:
    """A full reference: the registry's host, the path there, and a tag, a digest, both or neither."""

    registry: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Registry and path."""
        return f"{self.registry}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as people write it: without ``docker.io`` and ``library``."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        return self.path.removeprefix("library/") if self.path.count("/") == 1 else self.path

    @property
    def suffix(self) -> str:
        """What follows the name."""
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def full(self) -> str:
        """The whole reference, as the store has it."""
        return self.name + self.suffix

    @property
    def familiar(self) -> str:
        """The whole reference as people write it."""
        return self.familiar_name + self.suffix

    def tagged(self) -> Reference:
        """This reference, with ``latest`` where it says nothing."""
        return self if self.tag or self.digest else Reference(self.registry, self.path, "latest")


def _invalid(reason: str = "") -> InvalidParameterError:
    return InvalidParameterError("invalid reference format" + (f": {reason}" if reason else ""))


def parse(text: str) -> Reference:
    """Read a reference as people write it. InvalidParameterError in dockerd's words."""
    if IDENTIFIER.fullmatch(text):
        raise InvalidParameterError(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _invalid()
    if digest.startswith("sha256:") and not SHA256.fullmatch(digest):
        raise InvalidParameterError(
            "invalid checksum digest length" if len(digest) != 71 else "invalid checksum digest format"
        )
    registry, path = _split_registry(rest)
    tag = ""
    if ":" in path:
        path, _, tag = path.rpartition(":")
        if not _TAG.fullmatch(tag):
            raise _invalid()
    if path != path.lower() and _PATH.fullmatch(path.lower()):
        raise _invalid("repository name must be lowercase")
    if not _PATH.fullmatch(path) or not _DOMAIN.fullmatch(registry):
        raise _invalid()
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = "library/" + path
    if len(registry) + 1 + len(path) > LONGEST_NAME:
        raise InvalidParameterError("repository name must not be more than 255 characters")
    return Reference(registry, path, tag, digest)


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        return (DEFAULT_REGISTRY, rest) if first == "index.docker.io" else (first, rest)
    return DEFAULT_REGISTRY, text


def join(repository: str, tag: str) -> Reference:
    """A reference from a repository and a tag (or digest) given apart, as the API has them."""
    base = parse(repository)
    if not tag:
        return base.tagged()
    if ":" in tag:
        return parse(f"{base.name}@{tag}")
    if not _TAG.fullmatch(tag):
        raise InvalidParameterError("invalid tag format")
    return replace(base, tag=tag)


def join_shown(repository: str, tag: str) -> str:
    """What ``join`` is given, as dockerd shows it in the event of a tagging: without the tag that was left out."""
    return join(repository, tag).familiar if tag else parse(repository).familiar


def matches(pattern: str, familiar: str) -> bool:
    """Whether a familiar reference, or its name alone, fits a pattern as Go's ``path.Match`` has them.

    InvalidParameterError for a pattern that is none.
    """
    expression = _translated(pattern)
    return any(expression.fullmatch(text) for text in (familiar, parse(familiar).familiar_name))


@cache
def _translated(pattern: str) -> re.Pattern[str]:
    expression, position = "", 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            expression += "[^/]*"
        elif character == "?":
            expression += "[^/]"
        elif character == "[":
            group = _GROUP.match(pattern, position)
            if group is None:
                raise _broken_pattern()
            inner = re.sub(r"([\[\]&|~])", r"\\\1", re.sub(r"\\(.)", r"\1", group[2]))
            expression += f"[{'^/' if group[1] else ''}{inner}]"
            position = group.end()
        elif character == "\\":
            if position == len(pattern):
                raise _broken_pattern()
            expression += re.escape(pattern[position])
            position += 1
        else:
            expression += re.escape(character)
    try:
        return re.compile(expression, re.DOTALL)
    except re.error:
        raise _broken_pattern() from None


def _broken_pattern() -> InvalidParameterError:
    return InvalidParameterError("syntax error in pattern")


def stored(full: str) -> Reference:
    """A reference from the store, which is full already."""
    rest, _, digest = full.partition("@")
    registry, _, path = rest.partition("/")
    path, _, tag = path.partition(":")
    return Reference(registry, path, tag, digest)
