"""Events as clients see them (API: EventMessage), and which of them a client asked for."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from apiserver.queries import Filters
from store.objects import Event

# With one of these, which are only the beginning of an action, dockerd compares beginnings (moby 25798).
_BEGINNINGS = frozenset(("health_status", "exec_create", "exec_start"))
_WITH_STATUS = frozenset(("container", "image"))
_BY_NAME = (
    "daemon",
    "container",
    "plugin",
    "volume",
    "network",
    "node",
    "service",
    "secret",
    "config",
)


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """The object of an event."""

    id: str = msgspec.field(name="ID")
    attributes: Mapping[str, str] = msgspec.field(name="Attributes")


class EventMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of ``GET /events``. ``status``, ``id`` and ``from`` are the spelling of API 1.21 and before, which
    containers' and images' events still have; ``time`` in seconds."""

    status: str = ""
    id: str = ""
    from_: str = msgspec.field(default="", name="from")
    type: str = msgspec.field(name="Type")
    action: str = msgspec.field(name="Action")
    actor: Actor = msgspec.field(name="Actor")
    scope: str
    time: int
    time_nano: int = msgspec.field(name="timeNano")


def message(event: Event) -> EventMessage:
    """The event as clients see it; attributes sorted, as Go's encoder has them."""
    old = event.type in _WITH_STATUS
    return EventMessage(
        status=event.action if old else "",
        id=event.actor if old else "",
        from_=event.attributes.get("image", "") if event.type == "container" else "",
        type=event.type,
        action=event.action,
        actor=Actor(id=event.actor, attributes=dict(sorted(event.attributes.items()))),
        scope=event.scope,
        time=event.at // 1_000_000_000,
        time_nano=event.at,
    )


def asked_for(event: Event, filters: Filters) -> bool:
    """Whether all filters let the event through. Unknown ones are ignored, as dockerd does.

    Objects are named by the beginning of their id or name, whatever their type: ``volume=db`` also finds what happens
    to a network called ``db``. Clients that mean volumes alone add ``type=volume``.
    """
    return (
        _matches_action(event.action, filters)
        and filters.exact("type", event.type)
        and (not event.scope or filters.exact("scope", event.scope))
        and all(_matches_object(event, name, filters) for name in _BY_NAME)
        and _matches_image(event, filters)
        and filters.labels("label", event.attributes)
    )


def _matches_action(action: str, filters: Filters) -> bool:
    wanted = filters.values("event")
    if _BEGINNINGS.isdisjoint(wanted):
        return filters.exact("event", action)
    return any(action.startswith(beginning) for beginning in wanted)


def _matches_object(event: Event, kind: str, filters: Filters) -> bool:
    wanted = filters.values(kind)
    if not wanted:
        return True
    beginnings = tuple(wanted)
    return event.actor.startswith(beginnings) or event.attributes.get("name", "").startswith(beginnings)


def _matches_image(event: Event, filters: Filters) -> bool:
    wanted = filters.values("image")
    if not wanted:
        return True
    name = event.attributes.get("name" if event.type == "image" else "image", "")
    return not {event.actor, name, _untagged(event.actor), _untagged(name)}.isdisjoint(wanted)


def _untagged(reference: str) -> str:
    name = reference.partition("@")[0]
    path, slash, last = name.rpartition("/")
    bare = path + slash + last.partition(":")[0]
    return bare.removeprefix("docker.io/").removeprefix("library/")
