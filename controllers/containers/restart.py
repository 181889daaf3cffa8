"""The restart policy: pure."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from store.objects.containers import Container

FIRST_DELAY = 0.1
LONGEST_DELAY = 60.0
HEALTHY_AFTER = 10 * 1_000_000_000
"""A run that lasted this long, in nanoseconds, starts the back-off anew (dockerd's figure)."""


@dataclass(frozen=True)
class Verdict:
    """Whether to start again, after how many seconds, and the delay to remember."""

    restart: bool
    delay: float = 0.0


def verdict(container: Container, exit_code: int, ran_for: int) -> Verdict:
    """What the policy says of an exit after ``ran_for`` nanoseconds."""
    if container.spec.wanted != "running" or container.spec.manually_stopped:
        return Verdict(False)
    if not _allows(container, exit_code):
        return Verdict(False)
    last = container.status.restart_delay
    delay = FIRST_DELAY if ran_for >= HEALTHY_AFTER or not last else min(last * 2, LONGEST_DELAY)
    return Verdict(True, delay)


def _allows(container: Container, exit_code: int) -> bool:
    policy = container.spec.host.restart_policy
    match policy.name:
        case "always" | "unless-stopped":
            return True
        case "on-failure":
            limit = policy.maximum_retry_count
            return exit_code != 0 and (limit == 0 or container.status.restart_count < limit)
    return False


def revives(container: Container) -> bool:
    """Whether the start of the daemon starts a container that does not run, as dockerd's does.

    ``always`` comes back even if somebody had stopped it, ``unless-stopped`` not, ``on-failure`` when its last exit was
    a failure; what was never started stays so.
    """
    status, spec = container.status, container.spec
    if container.meta.deletion_requested_at is not None or not status.started_at or status.phase != "exited":
        return False
    if spec.host.restart_policy.name == "unless-stopped" and spec.manually_stopped:
        return False
    return _allows(container, status.exit_code)


def settled_by_boot(container: Container, now: int) -> Container:
    """A container of which nothing lives any more: what was under way when the machine died is not gone on with.

    Whether it is started again is its restart policy's word alone, and one that was to remove itself goes, as with
    dockerd. ``now`` in nanoseconds since the epoch.
    """
    spec, status = container.spec, container.status
    if container.running or container.meta.deletion_requested_at is not None:
        return container
    if spec.host.auto_remove:
        container = container.edited(spec=replace(spec, remove_volumes=True))
        return container.with_meta(deletion_requested_at=now)
    if spec.starts == status.starts and status.phase != "restarting":
        return container
    phase = "exited" if status.phase == "restarting" else status.phase
    settled = replace(
        status,
        phase=phase,
        starts=spec.starts,
        next_restart_at=0,
        observed_generation=container.meta.generation,
        endpoints={},
        joined=status.joined_last(),
        ports=(),
    )
    return replace(container, status=settled)
