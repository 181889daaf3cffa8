"""What every kind has in common: the head, and the way a head changes.

Objects are frozen: a change is a new object with the same ``uid``, so a reader never sees half of one.
"""

from __future__ import annotations

import time
from typing import Self

import msgspec


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """The head of an object.

    ``generation`` counts edits of the spec; ``resource_version`` is the store's one growing number, set at commit.
    Times are nanoseconds since the epoch.
    """

    uid: str
    name: str
    labels: dict[str, str] = {}
    generation: int = 1
    resource_version: int = 0
    created_at: int = msgspec.field(default_factory=time.time_ns)
    deletion_requested_at: int | None = None
    finalizers: tuple[str, ...] = ()


class Object(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all kinds; a kind adds ``spec`` and, where the host can differ from it, ``status``."""

    meta: Meta

    @property
    def uid(self) -> str:
        """The object's identity; for containers, networks and images the id that clients see."""
        return self.meta.uid

    @property
    def name(self) -> str:
        """The name, unique in the kind."""
        return self.meta.name

    def edited(self, **fields: object) -> Self:
        """The same object with other fields and one more generation: use it when the spec changes."""
        meta = msgspec.structs.replace(self.meta, generation=self.meta.generation + 1)
        return msgspec.structs.replace(self, meta=meta, **fields)

    def with_meta(self, **fields: object) -> Self:
        """The same object with other fields in its head (the generation stays)."""
        return msgspec.structs.replace(self, meta=msgspec.structs.replace(self.meta, **fields))
