"""What a registry's refusals mean, and how dockerd words them (distribution: errcode; moby: translatePullError)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from controllers.images.references import Reference
from store.errors import EngineError, NotFoundError

DEFAULT_MESSAGES = {
    "UNKNOWN": "unknown error",
    "UNSUPPORTED": "The operation is unsupported.",
    "UNAUTHORIZED": "authentication required",
    "DENIED": "requested access to the resource is denied",
    "UNAVAILABLE": "service unavailable",
    "TOOMANYREQUESTS": "too many requests",
    "NAME_UNKNOWN": "repository name not known to registry",
    "NAME_INVALID": "invalid repository name",
    "TAG_INVALID": "manifest tag did not match URI",
    "MANIFEST_UNKNOWN": "manifest unknown",
    "MANIFEST_INVALID": "manifest invalid",
    "BLOB_UNKNOWN": "blob unknown to registry",
}
LONGEST_QUOTE = 512


class RegistryError(EngineError):
    """A registry refused. ``code`` is its error code, empty when it sent none that we could read."""

    def __init__(self, message: str, code: str = "", *, plain: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.plain = plain


class UnreachableError(EngineError):
    """No registry answers at an endpoint, or not as one: another endpoint may."""


class InterruptedDownloadError(EngineError):
    """A download stopped in the middle: it can go on."""


def coded(code: str, message: str = "", *, plain: bool = False) -> RegistryError:
    """An error with one of the registry API's codes. ``plain`` ones are shown as their code alone."""
    words = code.lower().replace("_", " ")
    return RegistryError(words if plain or not message else f"{words}: {message}", code, plain=plain)


def refusal(status: int, reason: str, body: bytes, challenges: list[tuple[str, Mapping[str, str]]]) -> RegistryError:
    """The error that an answer of 400 and above stands for."""
    if status >= 500:
        return RegistryError(f"received unexpected HTTP status: {status} {reason}")
    for scheme, parameters in challenges:
        code = {"invalid_token": "UNAUTHORIZED", "insufficient_scope": "DENIED"}.get(parameters.get("error", ""))
        if scheme == "bearer" and code:
            return coded(code, parameters.get("error_description") or DEFAULT_MESSAGES[code])
    return _from_body(status, body)


def _from_body(status: int, body: bytes) -> RegistryError:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        details = document.get("details")
        code = {401: "UNAUTHORIZED", 403: "DENIED", 429: "TOOMANYREQUESTS"}.get(status)
        if code and isinstance(details, str) and details:
            return coded(code, details)
        errors = document.get("errors")
        first = errors[0] if isinstance(errors, list) and errors else None
        if isinstance(first, dict):
            return _from_entry(first)
    if status == 401:
        return coded("UNAUTHORIZED", DEFAULT_MESSAGES["UNAUTHORIZED"])
    quoted = json.dumps(body[:LONGEST_QUOTE].decode("utf-8", "replace"), ensure_ascii=False)
    if document is not None or not body:
        return RegistryError(
            f"error parsing HTTP {status} response body: no error details found in HTTP response body: {quoted}"
        )
    return RegistryError(f"error parsing HTTP {status} response body: {_complaint(body)}: {quoted}")


def _from_entry(entry: Mapping[str, Any]) -> RegistryError:
    code = str(entry.get("code") or "UNKNOWN")
    if code not in DEFAULT_MESSAGES:
        # Go maps codes that it does not know to this one, and keeps their message.
        code = "UNKNOWN"
    message = str(entry.get("message") or "")[:LONGEST_QUOTE]
    # An error that says nothing beyond its code is decoded to the code alone, which is then shown alone.
    plain = not entry.get("detail") and message in ("", DEFAULT_MESSAGES[code])
    return coded(code, message, plain=plain)


def _complaint(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    try:
        _, end = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return f"invalid character {text.lstrip()[:1]!r} looking for beginning of value"
    following = text.lstrip()[end:].lstrip()
    return f"invalid character {following[:1]!r} after top-level value"


def translated(error: EngineError, reference: Reference) -> EngineError:
    """The error as a client of the daemon sees it: what is not there, or not to be seen, is a 404."""
    if not isinstance(error, RegistryError) or error.plain:
        return error
    match error.code:
        case "DENIED":
            what = (
                f"pull access denied for {reference.familiar_name}, repository does not exist or may require "
                "'docker login'"
            )
        case "MANIFEST_UNKNOWN":
            what = f"manifest for {reference.familiar} not found"
        case "NAME_UNKNOWN":
            what = f"repository {reference.familiar_name} not found"
        case _:
            return error
    return NotFoundError(f"{what}: {error}")
