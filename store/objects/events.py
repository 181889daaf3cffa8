"""Events: what happened, kept for a while, never changed."""

from __future__ import annotations

import time

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``GET /events``. ``type`` is container, image, network, volume, daemon …; ``at`` in nanoseconds.

    ``actor`` is the object's id (for images, the reference or id that the action named). ``sequence`` is set by the
    store and grows.
    """

    type: str
    action: str
    actor: str
    attributes: dict[str, str] = {}
    scope: str = "local"
    at: int = msgspec.field(default_factory=time.time_ns)
    sequence: int = 0
