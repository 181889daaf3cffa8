"""The events of containers, as dockerd writes them: pure."""

from __future__ import annotations

from store.objects import Container, Event


def event(container: Container, action: str, **attributes: str) -> Event:
    """An event of a container: its labels, image and name, and what is said besides."""
    labels = container.spec.config.labels or {}
    return Event(
        type="container",
        action=action,
        actor=container.uid,
        attributes={**labels, "image": container.spec.config.image, "name": container.name, **attributes},
    )
