"""What a container needs next: a pure decision from its spec, its status and what the host shows.

One step at a time: after each, the loop decides anew, so a crash between two steps changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from store.objects.containers import Container

SECOND = 1_000_000_000
LONGEST_WAIT = 86400.0
"""Seconds: a timer cannot count for as long as a client may ask."""


class Step(Enum):
    """The next thing to do with a container."""

    REMOVE = auto()
    """Take away all that there is of it, then its row."""
    ADOPT = auto()
    """It was started and no status says so: the daemon died between the start and its record."""
    RECORD_EXIT = auto()
    """It ended, and no status says so."""
    SIGNAL = auto()
    """Send the stop signal."""
    KILL = auto()
    """The grace is over: SIGKILL."""
    PAUSE = auto()
    RESUME = auto()
    CLEAN = auto()
    """It does not run, and the host still holds things of its last run."""
    START = auto()
    WAIT = auto()
    """Nothing before a moment that is known, or before the host tells something."""
    SETTLE = auto()
    """All is as it should be; only the status does not say yet for which generation."""
    NOTHING = auto()


@dataclass(frozen=True)
class Seen:
    """What the host shows.

    ``alive``: the first process lives. ``started``: it is, or was, beyond creation. ``ended``: it has ended and no
    status told of that end. ``remains``: there are things of a run (bundle, mounts, sandbox).
    """

    alive: bool = False
    started: bool = False
    ended: bool = False
    remains: bool = False


@dataclass(frozen=True)
class Decision:
    """The next step; ``after`` is in how many seconds to decide anew, for WAIT."""

    step: Step
    after: float | None = None


def desired(container: Container, seen: Seen, now: int) -> Decision:
    """Decide. ``now`` in nanoseconds since the epoch."""
    if container.meta.deletion_requested_at is not None:
        return Decision(Step.REMOVE)
    if container.running:
        return _running(container, seen, now)
    return _not_running(container, seen, now)


def _running(container: Container, seen: Seen, now: int) -> Decision:
    spec, status = container.spec, container.status
    if not seen.alive:
        return Decision(Step.RECORD_EXIT)
    # A start that was asked for while another one was under way is fulfilled with it: only a restart brings a stop.
    restart_asked = spec.wanted == "running" and spec.starts > status.starts and spec.stop is not None
    if spec.wanted == "stopped" or restart_asked:
        return _stopping(container, now)
    if spec.paused and status.phase == "running":
        return Decision(Step.PAUSE)
    if not spec.paused and status.phase == "paused":
        return Decision(Step.RESUME)
    return _settled(container)


def _stopping(container: Container, now: int) -> Decision:
    stop, status = container.spec.stop, container.status
    if not status.stopping_since or stop is None:
        return Decision(Step.SIGNAL)
    if stop.is_kill:
        # It came while a stop was waiting.
        return Decision(Step.KILL)
    if stop.timeout < 0:
        return Decision(Step.WAIT)
    left = status.stopping_since + int(stop.timeout * SECOND) - now
    return Decision(Step.WAIT, min(left / SECOND, LONGEST_WAIT)) if left > 0 else Decision(Step.KILL)


def _not_running(container: Container, seen: Seen, now: int) -> Decision:
    spec, status = container.spec, container.status
    if seen.started and (seen.alive or seen.ended):
        return Decision(Step.ADOPT)
    if seen.remains:
        return Decision(Step.CLEAN)
    if container.start_pending:
        return Decision(Step.START)
    if status.phase == "restarting":
        if spec.wanted != "running":
            return Decision(Step.SETTLE)
        left = status.next_restart_at - now
        return Decision(Step.WAIT, left / SECOND) if left > 0 else Decision(Step.START)
    return _settled(container)


def _settled(container: Container) -> Decision:
    current = container.status.observed_generation >= container.meta.generation
    if container.running and container.spec.wanted == "running":
        current = current and container.status.starts >= container.spec.starts
    return Decision(Step.NOTHING if current else Step.SETTLE)
