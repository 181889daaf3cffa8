"""How each kind becomes a row and back, and by what it can be looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast, get_type_hints

import msgspec
from sqlalchemy import Table

from store import tables
from store.objects import AddressLease, Container, Image, Layer, Network, PortLease, Reference, Volume
from store.objects.meta import Meta, Object

T = TypeVar("T", bound=Object)
Row = dict[str, Any]

_HEAD = ("uid", "name", "generation", "resource_version", "created_at", "deletion_requested_at")
_JSON = msgspec.json.Encoder()
_LABELS = msgspec.json.Decoder(dict[str, str])
_FINALIZERS = msgspec.json.Decoder(tuple[str, ...])


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One kind: its class, its table, the store's name for its view, and its indexes.

    Fields that are structs are kept as JSON, plain ones as columns.
    """

    type: type[T]
    table: Table
    view: str
    indexes: Mapping[str, Callable[[T], Iterable[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        hints = get_type_hints(self.type)
        names = [name for name in self.type.__struct_fields__ if name != "meta"]
        structs = {name: msgspec.json.Decoder(hints[name]) for name in names if _is_struct(hints[name])}
        object.__setattr__(self, "_fields", tuple(names))
        object.__setattr__(self, "_structs", structs)

    _fields: tuple[str, ...] = field(init=False, default=())
    _structs: dict[str, msgspec.json.Decoder[Any]] = field(init=False, default_factory=dict)

    def row(self, obj: T) -> Row:
        """All columns of the object."""
        row = self._head(obj.meta)
        for name in self._fields:
            row[name] = self._column(name, getattr(obj, name))
        return row

    def difference(self, before: T, after: T) -> Row:
        """The columns to write to get from one to the other; always with ``uid``, which never changes.

        Untouched fields are recognised by identity, so a status write does not encode the spec.
        """
        row = self._head(after.meta)
        if before.meta.labels is after.meta.labels:
            del row["labels"]
        for name in self._fields:
            value = getattr(after, name)
            if value is not getattr(before, name):
                row[name] = self._column(name, value)
        return row

    def object(self, row: Mapping[str, Any]) -> T:
        """The object that the row holds; raises ``msgspec.MsgspecError`` if its JSON is not of this kind."""
        meta = Meta(
            labels=_LABELS.decode(row["labels"]),
            finalizers=_FINALIZERS.decode(row["finalizers"]),
            **{name: row[name] for name in _HEAD},
        )
        values: dict[str, Any] = {name: row[name] for name in self._fields}
        for name, decoder in self._structs.items():
            values[name] = decoder.decode(row[name])
        return cast("Callable[..., T]", self.type)(meta=meta, **values)

    def _head(self, meta: Meta) -> Row:
        row: Row = {name: getattr(meta, name) for name in _HEAD}
        row["labels"] = encoded(meta.labels)
        row["finalizers"] = encoded(meta.finalizers)
        return row

    def _column(self, name: str, value: Any) -> Any:
        return encoded(value) if name in self._structs else value


def encoded(value: Any) -> str:
    """The value as JSON text."""
    return _JSON.encode(value).decode()


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _networks(container: Container) -> Iterable[str]:
    asked = (endpoint.network for endpoint in container.spec.endpoints.values())
    live = (endpoint.network for endpoint in container.status.endpoints.values())
    return {*asked, *live} - {""}


def _volumes(container: Container) -> Iterable[str]:
    return {mount.name for mount in container.spec.mounts if mount.type == "volume" and mount.name}


def _linking(container: Container) -> Iterable[str]:
    """One key for the few that have links on a user-defined network."""
    return ("endpoints",) if any(endpoint.links for endpoint in container.spec.endpoints.values()) else ()


CONTAINERS = Kind(
    Container,
    tables.CONTAINERS,
    "containers",
    {
        "image": lambda each: (each.spec.image_id,),
        "network": _networks,
        "volume": _volumes,
        "linked": lambda each: {link.container for link in each.spec.links},
        "linking": _linking,
    },
)
NETWORKS = Kind(Network, tables.NETWORKS, "networks")
VOLUMES = Kind(Volume, tables.VOLUMES, "volumes")
IMAGES = Kind(
    Image,
    tables.IMAGES,
    "images",
    {"layer": lambda each: set(each.spec.chain_ids), "parent": lambda each: (each.spec.parent,)},
)
REFERENCES = Kind(Reference, tables.REFERENCES, "references", {"image": lambda each: (each.image,)})
LAYERS = Kind(Layer, tables.LAYERS, "layers", {"parent": lambda each: (each.parent,)})
ADDRESS_LEASES = Kind(
    AddressLease,
    tables.ADDRESS_LEASES,
    "address_leases",
    {"owner": lambda each: (each.owner,), "network": lambda each: (each.network,)},
)
PORT_LEASES = Kind(PortLease, tables.PORT_LEASES, "port_leases", {"owner": lambda each: (each.owner,)})

KINDS: Mapping[type[Object], Kind[Any]] = {
    kind.type: kind for kind in (CONTAINERS, NETWORKS, VOLUMES, IMAGES, REFERENCES, LAYERS, ADDRESS_LEASES, PORT_LEASES)
}
