"""Drift: what somebody else changed on the host and we put back. It is never silent."""

from __future__ import annotations

import logging

from controllers import metrics
from store.objects import Event

_log = logging.getLogger(__name__)


def repaired(reason: str, kind: str, actor: str = "", **attributes: str) -> Event:
    """Counts and logs a repair; returns the event to emit in a commit.

    ``reason`` is a short constant such as ``bridge missing`` (it is a metric's label), ``kind`` the type of the object
    as events have it (container, network, volume …), ``actor`` its id; details go into ``attributes``.
    """
    metrics.DRIFT_REPAIRS.labels(kind, reason).inc()
    _log.warning("repaired %s %s: %s", kind, actor, reason)
    return Event(type=kind, action=f"repair: {reason}", actor=actor, attributes={"reason": reason, **attributes})
