"""Every metric of the controllers and the store, in one registry.

Names are those that Kubernetes' and dockerd's dashboards know; ours begin with ``wharfinger_``. Label values come from
the code, never from clients, so their number is bounded.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

# A ``_created`` gauge beside each counter doubles the output and is no name that any dashboard knows.
disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_QUEUE_BUCKETS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0)
_RECONCILE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COMMIT_BUCKETS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

QUEUE_DEPTH = Gauge("workqueue_depth", "Keys that wait in the queue.", ["name"], registry=REGISTRY)
QUEUE_ADDS = Counter("workqueue_adds", "Keys added to the queue.", ["name"], registry=REGISTRY)
QUEUE_DURATION = Histogram(
    "workqueue_queue_duration_seconds",
    "How long a key waits in the queue.",
    ["name"],
    buckets=_QUEUE_BUCKETS,
    registry=REGISTRY,
)
WORK_DURATION = Histogram(
    "workqueue_work_duration_seconds",
    "How long the work on a key takes.",
    ["name"],
    buckets=_QUEUE_BUCKETS,
    registry=REGISTRY,
)
QUEUE_RETRIES = Counter("workqueue_retries", "Keys added again after a failure.", ["name"], registry=REGISTRY)
UNFINISHED_WORK = Gauge(
    "workqueue_unfinished_work_seconds",
    "How long the work in progress has taken so far, summed over all of it.",
    ["name"],
    registry=REGISTRY,
)
LONGEST_RUNNING = Gauge(
    "workqueue_longest_running_processor_seconds",
    "How long the oldest work in progress has taken so far.",
    ["name"],
    registry=REGISTRY,
)

RECONCILES = Counter(
    "controller_runtime_reconcile",
    "Reconciles by outcome: success, requeue_after, error.",
    ["controller", "result"],
    registry=REGISTRY,
)
RECONCILE_ERRORS = Counter(
    "controller_runtime_reconcile_errors", "Reconciles that failed.", ["controller"], registry=REGISTRY
)
RECONCILE_TERMINAL_ERRORS = Counter(
    "controller_runtime_terminal_reconcile_errors",
    "Reconciles that failed in a way that is not retried.",
    ["controller"],
    registry=REGISTRY,
)
RECONCILE_TIME = Histogram(
    "controller_runtime_reconcile_time_seconds",
    "How long a reconcile takes.",
    ["controller"],
    buckets=_RECONCILE_BUCKETS,
    registry=REGISTRY,
)
MAX_CONCURRENT = Gauge(
    "controller_runtime_max_concurrent_reconciles",
    "How many reconciles may run at once.",
    ["controller"],
    registry=REGISTRY,
)
ACTIVE_WORKERS = Gauge(
    "controller_runtime_active_workers", "How many reconciles are running.", ["controller"], registry=REGISTRY
)

CONTAINER_STATES = Gauge(
    "engine_daemon_container_states_containers",
    "Containers by state: running, paused, stopped.",
    ["state"],
    registry=REGISTRY,
)
CONTAINER_ACTIONS = Histogram(
    "engine_daemon_container_actions_seconds",
    "How long an action on a container takes: create, start, delete, changes, commit.",
    ["action"],
    registry=REGISTRY,
)
EVENTS = Counter("engine_daemon_events", "Events.", registry=REGISTRY)
HEALTH_CHECKS = Counter("engine_daemon_health_checks", "Health checks that ran.", registry=REGISTRY)
HEALTH_CHECKS_FAILED = Counter("engine_daemon_health_checks_failed", "Health checks that failed.", registry=REGISTRY)

DRIFT_REPAIRS = Counter(
    "wharfinger_drift_repairs",
    "Repairs of what somebody else changed on the host, by kind of object and reason.",
    ["kind", "reason"],
    registry=REGISTRY,
)
STORE_COMMITS = Counter(
    "wharfinger_store_commits", "Commits of the store by result: success, error.", ["result"], registry=REGISTRY
)
STORE_GROUP_CHANGES = Histogram(
    "wharfinger_store_commit_changes",
    "How many changes one commit of the store carries.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    registry=REGISTRY,
)
STORE_COMMIT_TIME = Histogram(
    "wharfinger_store_commit_duration_seconds",
    "How long a commit of the store takes.",
    buckets=_COMMIT_BUCKETS,
    registry=REGISTRY,
)
FEED_LAG = Histogram(
    "wharfinger_store_feed_lag_seconds",
    "How long after its commit a change is seen by readers.",
    buckets=_COMMIT_BUCKETS,
    registry=REGISTRY,
)
