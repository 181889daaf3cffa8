"""The in-memory view of one kind, with its indexes."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Generic, TypeVar

from store.kinds import Kind
from store.objects.meta import Object

T = TypeVar("T", bound=Object)
_DIGEST = "sha256:"


class View(Generic[T]):
    """All objects of one kind in order of creation, by uid, name, uid prefix and the kind's indexes.

    Reading it never waits. Only the store writes it. Each view belongs to one thread: the store's own to the event
    loop's, the writer's copy to the writer's.
    """

    def __init__(self, kind: Kind[T]) -> None:
        self._kind = kind
        self._objects: dict[str, T] = {}
        self._names: dict[str, str] = {}
        self._sorted: list[tuple[str, str]] = []
        self._indexes: dict[str, dict[str, dict[str, None]]] = {name: {} for name in kind.indexes}
        self.revision = 0
        """Grows with every change: what was made of the view at one revision is true while it stands."""

    def get(self, uid: str) -> T | None:
        """The object with this uid."""
        return self._objects.get(uid)

    def by_name(self, name: str) -> T | None:
        """The object with this name."""
        uid = self._names.get(name)
        return None if uid is None else self._objects[uid]

    def by_prefix(self, prefix: str) -> list[T]:
        """The objects whose uid starts with ``prefix``, with or without the uid's ``sha256:``, sorted by uid."""
        bare = prefix.removeprefix(_DIGEST)
        found: list[T] = []
        for position in range(bisect_left(self._sorted, (bare, "")), len(self._sorted)):
            short, uid = self._sorted[position]
            if not short.startswith(bare):
                break
            found.append(self._objects[uid])
        return found

    def where(self, index: str, value: str) -> list[T]:
        """The objects that ``index`` (one of the kind's, else KeyError) files under ``value``, oldest entry first."""
        return [self._objects[uid] for uid in self._indexes[index].get(value, ())]

    def __iter__(self) -> Iterator[T]:
        return iter(self._objects.values())

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, uid: str) -> bool:
        return uid in self._objects

    def put(self, obj: T) -> None:
        """Adds the object or replaces the one with its uid."""
        self.revision += 1
        uid = obj.meta.uid
        before = self._objects.get(uid)
        self._objects[uid] = obj
        if before is None:
            insort(self._sorted, (uid.removeprefix(_DIGEST), uid))
            self._names[obj.meta.name] = uid
        elif before.meta.name != obj.meta.name:
            del self._names[before.meta.name]
            self._names[obj.meta.name] = uid
        for name, values in self._kind.indexes.items():
            old = set() if before is None else set(values(before))
            new = set(values(obj))
            if old != new:
                self._unfile(name, uid, old - new)
                for value in new - old:
                    self._indexes[name].setdefault(value, {})[uid] = None

    def remove(self, uid: str) -> None:
        """Takes the object out; KeyError if it is not there."""
        before = self._objects.pop(uid)
        self.revision += 1
        del self._names[before.meta.name]
        del self._sorted[bisect_left(self._sorted, (uid.removeprefix(_DIGEST), uid))]
        for name, values in self._kind.indexes.items():
            self._unfile(name, uid, set(values(before)))

    def _unfile(self, index: str, uid: str, values: set[str]) -> None:
        files = self._indexes[index]
        for value in values:
            entries = files[value]
            del entries[uid]
            if not entries:
                del files[value]
