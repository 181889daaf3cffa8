"""Events at the wire: their JSON and their filters, as dockerd 20.10 was seen to have them."""

from __future__ import annotations

import pytest

from apiserver.queries import Filters
from apiserver.rendering import encode
from apiserver.wire.events import asked_for, message
from store.objects import Event

AT = 1_795_694_344_860_843_484
CONTAINER = Event(
    type="container",
    action="start",
    actor="767acfc834c9",
    attributes={"x": "y", "name": "cc", "image": "docker.io/library/busybox:latest"},
    at=AT,
)
NETWORK = Event(type="network", action="create", actor="3d8c", attributes={"type": "bridge", "name": "na"}, at=AT)
IMAGE = Event(type="image", action="tag", actor="sha256:a75c", attributes={"name": "busybox:1.36"}, at=AT)
HEALTH = Event(type="container", action="health_status: healthy", actor="767a", attributes={"name": "cc"}, at=AT)
PRUNED = Event(type="container", action="prune", actor="", attributes={"reclaimed": "0"}, at=AT)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            CONTAINER,
            '{"status":"start","id":"767acfc834c9","from":"docker.io/library/busybox:latest","Type":"container",'
            '"Action":"start","Actor":{"ID":"767acfc834c9","Attributes":{"image":"docker.io/library/busybox:latest",'
            '"name":"cc","x":"y"}},"scope":"local","time":1795694344,"timeNano":1795694344860843484}',
        ),
        (
            NETWORK,
            '{"Type":"network","Action":"create","Actor":{"ID":"3d8c","Attributes":{"name":"na","type":"bridge"}},'
            '"scope":"local","time":1795694344,"timeNano":1795694344860843484}',
        ),
        (
            IMAGE,
            '{"status":"tag","id":"sha256:a75c","Type":"image","Action":"tag","Actor":{"ID":"sha256:a75c",'
            '"Attributes":{"name":"busybox:1.36"}},"scope":"local","time":1795694344,"timeNano":1795694344860843484}',
        ),
        (
            PRUNED,
            '{"status":"prune","Type":"container","Action":"prune","Actor":{"ID":"","Attributes":{"reclaimed":"0"}},'
            '"scope":"local","time":1795694344,"timeNano":1795694344860843484}',
        ),
    ],
)
def test_an_event_is_written_as_dockerd_writes_it(event: Event, expected: str) -> None:
    assert encode(message(event)).decode() == expected


@pytest.mark.parametrize(
    ("filters", "event", "expected"),
    [
        ({}, CONTAINER, True),
        ({"type": []}, CONTAINER, True),
        ({"nonsense": ["x"]}, CONTAINER, True),
        ({"type": ["container", "volume"]}, CONTAINER, True),
        ({"type": ["network"]}, CONTAINER, False),
        ({"event": ["start"]}, CONTAINER, True),
        ({"event": ["sta"]}, CONTAINER, False),
        ({"event": ["health_status"]}, HEALTH, True),
        ({"event": ["health_status: healthy"]}, HEALTH, True),
        ({"event": ["exec_create", "health_status"]}, HEALTH, True),
        ({"event": ["exec_create", "sta"]}, CONTAINER, True),
        ({"container": ["767a"]}, CONTAINER, True),
        ({"container": ["c"]}, CONTAINER, True),
        ({"container": ["d"]}, CONTAINER, False),
        ({"container": [""]}, NETWORK, True),
        ({"volume": ["n"]}, NETWORK, True),
        ({"network": ["na"], "type": ["network"]}, NETWORK, True),
        ({"daemon": ["x"]}, NETWORK, False),
        ({"image": ["busybox"]}, CONTAINER, True),
        ({"image": ["busybox"]}, IMAGE, True),
        ({"image": ["busybox:1.36"]}, IMAGE, True),
        ({"image": ["sha256:a75c"]}, IMAGE, True),
        ({"image": ["busybox:latest"]}, IMAGE, False),
        ({"image": ["busy"]}, IMAGE, False),
        ({"label": ["x"]}, CONTAINER, True),
        ({"label": ["x=y"]}, CONTAINER, True),
        ({"label": ["x=z"]}, CONTAINER, False),
        ({"label": ["x", "z"]}, CONTAINER, False),
        ({"scope": ["local"]}, CONTAINER, True),
        ({"scope": ["swarm"]}, CONTAINER, False),
        ({"event": ["start"], "type": ["image"]}, CONTAINER, False),
    ],
)
def test_filters_let_through_what_dockerd_lets_through(
    filters: dict[str, list[str]], event: Event, expected: bool
) -> None:
    assert asked_for(event, Filters(filters)) is expected
