"""The restart policy: pure."""

from __future__ import annotations

from dataclasses import dataclass

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
    policy = container.spec.host.restart_policy
    if container.spec.wanted != "running" or container.spec.manually_stopped:
        return Verdict(False)
    match policy.name:
        case "always" | "unless-stopped":
            wanted = True
        case "on-failure":
            limit = policy.maximum_retry_count
            wanted = exit_code != 0 and (limit == 0 or container.status.restart_count < limit)
        case _:
            wanted = False
    if not wanted:
        return Verdict(False)
    last = container.status.restart_delay
    delay = FIRST_DELAY if ran_for >= HEALTHY_AFTER or not last else min(last * 2, LONGEST_DELAY)
    return Verdict(True, delay)


def revives(container: Container) -> bool:
    """Whether the start of the daemon starts this container, which somebody stopped by hand before."""
    return (
        container.spec.host.restart_policy.name == "always"
        and container.spec.wanted == "stopped"
        and container.status.started_at != 0
        and container.meta.deletion_requested_at is None
    )
