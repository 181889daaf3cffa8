"""Registry credentials that travel with a request."""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

from apiserver.gojson import decode
from store.errors import InvalidParameterError


class RegistryAuth(msgspec.Struct, frozen=True, kw_only=True, rename="lower"):
    """Credentials for one registry (API: AuthConfig). An identity token or a registry token replaces the password."""

    username: str = ""
    password: str = ""
    auth: str = ""
    email: str = ""
    server_address: str = msgspec.field(default="", name="serveraddress")
    identity_token: str = msgspec.field(default="", name="identitytoken")
    registry_token: str = msgspec.field(default="", name="registrytoken")

    go_name = "types.AuthConfig"


def parse_registry_auth(header: str) -> RegistryAuth | None:
    """The credentials in an ``X-Registry-Auth`` header: base64url of a JSON object; None when it is empty.

    Raises InvalidParameterError when it is no such thing; the message never repeats the header.
    """
    if not header:
        return None
    text = header.strip().rstrip("=").translate(str.maketrans("+/", "-_"))
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise InvalidParameterError("invalid X-Registry-Auth header: it is not base64url")
    try:
        body = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise InvalidParameterError("invalid X-Registry-Auth header: it is not base64url") from None
    try:
        return decode(body, RegistryAuth)
    except InvalidParameterError as error:
        raise InvalidParameterError(f"invalid X-Registry-Auth header: {error}") from None
