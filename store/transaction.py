"""What a change function works on: the objects as they will be, before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from store.errors import ConflictError, NotFoundError
from store.feed import Change
from store.objects import Event
from store.objects.meta import Object
from store.view import View

T = TypeVar("T", bound=Object)


class NameTakenError(ConflictError):
    """Another object of the kind has the name; ``holder_uid`` is empty if only the database knew."""

    def __init__(self, kind: type[Object], name: str, holder_uid: str) -> None:
        super().__init__(f"{kind.__name__.lower()} name {name} is already in use by {holder_uid or 'another'}")
        self.kind = kind
        self.name = name
        self.holder_uid = holder_uid


class GoneError(NotFoundError):
    """The object to update does not exist (any more)."""

    def __init__(self, kind: type[Object], uid: str) -> None:
        super().__init__(f"No such {kind.__name__.lower()}: {uid}")
        self.kind = kind
        self.uid = uid


class Transaction:
    """One change: reads see what is committed, what earlier changes of the same group did, and what this one did.

    It lives in the writer's thread while the change function runs, which must be quick and must not wait.
    """

    def __init__(self, memory: Mapping[type[Object], View[Any]], revision: int) -> None:
        self._memory = memory
        self._changes: list[Change[Any]] = []
        self._events: list[Event] = []
        self.revision = revision

    def get(self, kind: type[T], uid: str) -> T | None:
        """The object with this uid."""
        return self._view(kind).get(uid)

    def by_name(self, kind: type[T], name: str) -> T | None:
        """The object with this name."""
        return self._view(kind).by_name(name)

    def all(self, kind: type[T]) -> Iterator[T]:
        """All objects of the kind, as they were when asked: they may be changed while iterating."""
        return iter(list(self._view(kind)))

    def where(self, kind: type[T], index: str, value: str) -> list[T]:
        """The objects that one of the kind's indexes files under ``value``."""
        return self._view(kind).where(index, value)

    def insert(self, obj: T) -> T:
        """Adds a new object; returns it as stored.

        Raises ``NameTakenError`` if its name, or its uid, is in use.
        """
        kind = type(obj)
        view = self._view(kind)
        holder = view.by_name(obj.name) or view.get(obj.uid)
        if holder is not None:
            raise NameTakenError(kind, obj.name, holder.uid)
        return self._put(None, obj)

    def update(self, obj: T) -> T:
        """Replaces the object with the same uid; returns it as stored. An equal object changes nothing.

        Raises ``GoneError`` if there is none, ``NameTakenError`` if the name is new and in use.
        """
        kind = type(obj)
        view = self._view(kind)
        before = view.get(obj.uid)
        if before is None:
            raise GoneError(kind, obj.uid)
        if obj.meta.resource_version != before.meta.resource_version:
            obj = obj.with_meta(resource_version=before.meta.resource_version)
        # An equal write must not wake anybody, or a controller that writes its status would wake itself for ever.
        if obj == before:
            return before
        holder = view.by_name(obj.name)
        if holder is not None and holder.uid != obj.uid:
            raise NameTakenError(kind, obj.name, holder.uid)
        return self._put(before, obj)

    def delete(self, kind: type[T], uid: str) -> None:
        """Removes the object, if it is there."""
        view = self._view(kind)
        before = view.get(uid)
        if before is not None:
            view.remove(uid)
            self.revision += 1
            self._changes.append(Change(kind, uid, before, None, self.revision))

    def emit(self, event: Event) -> None:
        """Adds the event to the log, in the same commit."""
        self.revision += 1
        self._events.append(msgspec.structs.replace(event, sequence=self.revision))

    @property
    def changes(self) -> Iterable[Change[Any]]:
        """What was changed, in order."""
        return self._changes

    @property
    def events(self) -> Iterable[Event]:
        """What was emitted, in order."""
        return self._events

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not self._changes and not self._events

    def undo(self) -> None:
        """Puts the memory back as it was before this change. Changes of a group are undone last first."""
        for change in reversed(self._changes):
            view = self._memory[change.kind]
            if change.before is None:
                view.remove(change.uid)
            else:
                view.put(change.before)
        self._changes.clear()
        self._events.clear()

    def _view(self, kind: type[T]) -> View[T]:
        return self._memory[kind]

    def _put(self, before: T | None, obj: T) -> T:
        self.revision += 1
        stored = obj.with_meta(resource_version=self.revision)
        self._view(type(obj)).put(stored)
        self._changes.append(Change(type(obj), obj.uid, before, stored, self.revision))
        return stored
