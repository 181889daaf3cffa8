"""Names of images: ``[registry/]path[:tag][@digest]``, as distribution's reference grammar has them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from store.errors import InvalidParameterError

DEFAULT_REGISTRY = "docker.io"
LEGACY_REGISTRY = "index.docker.io"
# Quantifiers that never give back keep the time linear, whatever a client sends.
_COMPONENT = r"[a-z0-9]++(?:(?:[._]|__|-++)[a-z0-9]++)*+"
_HOST = r"[a-zA-Z0-9]++(?:-++[a-zA-Z0-9]++)*+"
_DOMAIN = rf"{_HOST}(?:\.{_HOST})*+(?::[0-9]++)?+"
_NAME = rf"(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[+._-][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"(?P<name>{_NAME})(?::(?P<tag>{_TAG.pattern}))?(?:@(?P<digest>{_DIGEST}))?", re.ASCII)
DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
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


@lru_cache(1024)
def parse(text: str) -> Reference:
    """Read a reference as people write it. InvalidParameterError in dockerd's words."""
    if IDENTIFIER.fullmatch(text):
        raise InvalidParameterError(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    registry, remainder = _split_registry(text)
    path = remainder.partition(":")[0]
    if path != path.lower():
        raise _invalid("repository name must be lowercase")
    match = _REFERENCE.fullmatch(f"{registry}/{remainder}")
    if match is None:
        raise _invalid("repository name must be lowercase" if _REFERENCE.fullmatch(text.lower()) else "")
    name, tag, digest = match["name"], match["tag"] or "", match["digest"] or ""
    if len(name) > LONGEST_NAME:
        raise InvalidParameterError(f"repository name must not be more than {LONGEST_NAME} characters")
    if digest:
        _check_digest(digest)
    # The grammar may find no registry in what was split off as one; then there is none that could be asked.
    return Reference(registry, name.removeprefix(registry + "/"), tag, digest)


def _check_digest(digest: str) -> None:
    algorithm, _, encoded = digest.partition(":")
    length = DIGEST_LENGTHS.get(algorithm)
    if length is None:
        raise InvalidParameterError("unsupported digest algorithm")
    if len(encoded) != length:
        raise InvalidParameterError("invalid checksum digest length")
    if not re.fullmatch(r"[a-f0-9]+", encoded):
        raise InvalidParameterError("invalid checksum digest format")


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash or ("." not in first and ":" not in first and first != "localhost"):
        first, rest = DEFAULT_REGISTRY, text
    if first == LEGACY_REGISTRY:
        first = DEFAULT_REGISTRY
    if first == DEFAULT_REGISTRY and "/" not in rest:
        rest = "library/" + rest
    return first, rest


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
    chunks, position = [""], 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            chunks.append("")
        elif character == "?":
            chunks[-1] += "[^/]"
        elif character == "[":
            group = _GROUP.match(pattern, position)
            if group is None:
                raise _broken_pattern()
            chunks[-1] += f"[{'^/' if group[1] else ''}{_members(group[2])}]"
            position = group.end()
        elif character == "\\":
            if position == len(pattern):
                raise _broken_pattern()
            chunks[-1] += re.escape(pattern[position])
            position += 1
        else:
            chunks[-1] += re.escape(character)
    # What follows a star is best where it first fits, so nothing has to be tried twice, however many stars there are.
    first, *middle = chunks
    last = f"[^/]*{middle.pop()}" if middle else ""
    try:
        return re.compile(first + "".join(f"(?>[^/]*?{chunk})" for chunk in middle) + last, re.DOTALL)
    except re.error:
        raise _broken_pattern() from None


def _members(text: str) -> str:
    """The inside of a character class, from Go's spelling to Python's."""
    units = [unit[-1] for unit in re.findall(r"\\?.", text, re.DOTALL)]
    found, position = "", 0
    while position < len(units):
        first = last = units[position]
        if units[position + 1 : position + 2] == ["-"] and position + 2 < len(units):
            last = units[position + 2]
            position += 2
        position += 1
        if first <= last:
            found += f"{re.escape(first)}-{re.escape(last)}"
    return found or r"^\s\S"


def _broken_pattern() -> InvalidParameterError:
    return InvalidParameterError("syntax error in pattern")


def stored(full: str) -> Reference:
    """A reference from the store, which is full already."""
    rest, _, digest = full.partition("@")
    registry, _, path = rest.partition("/")
    path, _, tag = path.partition(":")
    return Reference(registry, path, tag, digest)
