"""The events that a container's use of a volume makes: emitted in the commit that records the use."""

from __future__ import annotations

from store.objects import Event
from store.objects.containers import MountPoint


def mount_event(container_uid: str, point: MountPoint) -> Event:
    """The container begins to use the volume."""
    return Event(
        type="volume",
        action="mount",
        actor=point.name,
        attributes={
            "container": container_uid,
            "destination": point.destination,
            "driver": point.driver,
            "propagation": point.propagation,
            "read/write": "true" if point.read_write else "false",
        },
    )


def unmount_event(container_uid: str, point: MountPoint) -> Event:
    """The container no longer uses the volume."""
    attributes = {"container": container_uid, "driver": point.driver}
    return Event(type="volume", action="unmount", actor=point.name, attributes=attributes)
