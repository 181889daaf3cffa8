"""The request log: one line a request, at debug level for what went well and at info for what did not."""

from __future__ import annotations

import logging

from apiserver.middleware.metrics import Observation

log = logging.getLogger("wharfinger.http")


def log_request(raw_path: str, observation: Observation) -> None:
    """Logs a request that has been handled. The query stays out: it may hold what is nobody's business.

    ``raw_path`` is the path as it came: a decoded line feed would forge a line.
    """
    level = logging.INFO if observation.code >= 400 else logging.DEBUG
    if log.isEnabledFor(level):
        log.log(
            level,
            "%s %s %d %.1f ms",
            observation.method,
            raw_path.partition("?")[0],
            observation.code,
            observation.seconds * 1000,
            extra={"route": observation.route, "code": observation.code, "seconds": observation.seconds},
        )
