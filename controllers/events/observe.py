"""Keeps the metrics that follow from the store: its commits, its events and the states of its containers."""

from __future__ import annotations

from functools import partial

from controllers import metrics
from store.objects.containers import Phase
from store.store import CommitReport, Store

_STATES: dict[str, frozenset[Phase]] = {
    "running": frozenset({"running"}),
    "paused": frozenset({"paused"}),
    "stopped": frozenset({"created", "exited", "dead", "removing", "restarting"}),
}


def observe(store: Store) -> None:
    """Counts from now on until the store closes."""
    store.on_commit(_commit)
    store.events.on_event(lambda _: metrics.EVENTS.inc())
    for state, phases in _STATES.items():
        metrics.CONTAINER_STATES.labels(state).set_function(partial(_in, store, phases))


def _in(store: Store, phases: frozenset[Phase]) -> int:
    return sum(container.status.phase in phases for container in store.containers)


def _commit(report: CommitReport) -> None:
    metrics.STORE_COMMITS.labels("error" if report.failed else "success").inc()
    metrics.STORE_COMMIT_TIME.observe(report.seconds)
    if not report.failed:
        metrics.STORE_GROUP_CHANGES.observe(report.size)
        metrics.FEED_LAG.observe(report.lag)
