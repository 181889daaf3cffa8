"""A registry's authentication: none, basic, or a bearer token from a token server (distribution: spec/auth/token)."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode

import msgspec

from controllers.images.registry.failures import RegistryError, refusal
from store.errors import EngineError

CLIENT_ID = "docker"
LEAST_SECONDS = 60
SAFETY_SECONDS = 10
_CHALLENGE = re.compile(r'\s*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))\s*,?')


@dataclass(frozen=True)
class Credentials:
    """What a client sent in ``X-Registry-Auth``; a token replaces name and password."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    @property
    def basic(self) -> str:
        """The header for basic authentication; empty without a name and a password."""
        if not (self.username and self.password):
            return ""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Answer:
    """What a token server said."""

    status: int
    reason: str
    body: bytes


class Fetch(Protocol):
    """Sends a request to a token server; a form makes it a POST."""

    async def __call__(self, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None) -> Answer: ...


class _Token(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None
    expires_in: int | None = None


def parse_challenges(headers: Sequence[str]) -> list[tuple[str, Mapping[str, str]]]:
    """``WWW-Authenticate`` headers as (scheme in lower case, parameters)."""
    found: list[tuple[str, Mapping[str, str]]] = []
    for header in headers:
        scheme, _, rest = header.strip().partition(" ")
        parameters = {
            match[1].lower(): match[3] if match[2] is None else re.sub(r"\\(.)", r"\1", match[2])
            for match in _CHALLENGE.finditer(rest)
        }
        found.append((scheme.lower(), parameters))
    return found


class Authenticator:
    """Answers one registry's challenges for pulling from one repository."""

    def __init__(self, repository: str, credentials: Credentials, fetch: Fetch) -> None:
        self._scope = f"repository:{repository}:pull"
        self._credentials = credentials
        self._fetch = fetch
        self._challenges: list[tuple[str, Mapping[str, str]]] = []
        self._token = ""
        self._expires = 0.0

    def challenged(self, challenges: list[tuple[str, Mapping[str, str]]]) -> None:
        """Take note of what the registry asks for."""
        self._challenges = challenges

    def forget(self) -> None:
        """The token was refused: get another."""
        self._expires = 0.0

    async def header(self) -> str:
        """The ``Authorization`` header for the next request; empty when none is asked for.

        Raises EngineError without credentials for basic, RegistryError when the token server refuses.
        """
        for scheme, parameters in self._challenges:
            if scheme == "bearer":
                if self._credentials.registry_token:
                    return f"Bearer {self._credentials.registry_token}"
                if time.monotonic() >= self._expires:
                    await self._refresh(parameters)
                return f"Bearer {self._token}"
        for scheme, _ in self._challenges:
            if scheme == "basic":
                if not self._credentials.basic:
                    raise EngineError("no basic auth credentials")
                return self._credentials.basic
        return ""

    async def _refresh(self, parameters: Mapping[str, str]) -> None:
        realm = parameters.get("realm", "")
        if not realm.startswith(("http://", "https://")):
            raise EngineError("no token auth challenge realm given")
        service = parameters.get("service", "")
        if self._credentials.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": self._credentials.identity_token,
                "service": service,
                "client_id": CLIENT_ID,
                "scope": self._scope,
            }
            answer = await self._fetch(realm, {}, form)
        else:
            query = {"scope": self._scope, "service": service}
            headers = {}
            if self._credentials.basic:
                query["account"] = self._credentials.username
                headers["Authorization"] = self._credentials.basic
            url = realm + ("&" if "?" in realm else "?") + urlencode(query)
            answer = await self._fetch(url, headers, None)
        self._keep(answer)

    def _keep(self, answer: Answer) -> None:
        if answer.status >= 400:
            raise refusal(answer.status, answer.reason, answer.body, [])
        try:
            token = msgspec.json.decode(answer.body, type=_Token)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise RegistryError(f"unable to decode token response: {error}") from None
        self._token = token.token or token.access_token or ""
        if not self._token:
            raise RegistryError("authorization server did not include a token in the response")
        if not self._token.isascii() or not self._token.isprintable():
            raise RegistryError("authorization server sent a token that cannot be one")
        self._expires = time.monotonic() + max(token.expires_in or 0, LEAST_SECONDS) - SAFETY_SECONDS
