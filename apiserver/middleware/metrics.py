"""HTTP metrics, labelled by route template so that their number is bounded."""

from __future__ import annotations

import time
from functools import cache
from types import TracebackType

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

HTTP_REGISTRY = CollectorRegistry()

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

REQUESTS = Counter(
    "http_requests_total", "HTTP requests answered.", ("route", "method", "code"), registry=HTTP_REGISTRY
)
DURATIONS = Histogram(
    "http_request_duration_seconds",
    "Time from a request's arrival to the end of its answer; for streams, to their start.",
    ("route", "method", "code"),
    buckets=_BUCKETS,
    registry=HTTP_REGISTRY,
)
IN_PROGRESS = Gauge(
    "http_requests_in_progress", "HTTP requests being handled, streams included.", registry=HTTP_REGISTRY
)
CONNECTIONS = Gauge("http_connections", "Open client connections.", ("listener",), registry=HTTP_REGISTRY)


class Observation:
    """Counts a request while it is handled: what becomes known about it is set here.

    A context manager; a code that nobody sets means that the client left (499).
    """

    __slots__ = ("code", "method", "route", "started", "streaming_since")

    def __init__(self, method: str) -> None:
        self.started = time.perf_counter()
        self.streaming_since: float | None = None
        self.route = "none"
        self.method = method if method in _METHODS else "other"
        self.code = 499

    @property
    def seconds(self) -> float:
        """How long it took, until now or until its stream began."""
        return (self.streaming_since or time.perf_counter()) - self.started

    def __enter__(self) -> Observation:
        IN_PROGRESS.inc()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        IN_PROGRESS.dec()
        requests, durations = _series(self.route, self.method, self.code)
        requests.inc()
        durations.observe(self.seconds)


@cache
def _series(route: str, method: str, code: int) -> tuple[Counter, Histogram]:
    labels = (route, method, str(code))
    return REQUESTS.labels(*labels), DURATIONS.labels(*labels)
