"""``--ulimit``: what was asked, cut to what this engine may set."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from typing import Any

from controllers.containers.capabilities import grantable
from store.objects.containers import Ulimit

_NUMBERS = {
    "core": resource.RLIMIT_CORE,
    "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA,
    "fsize": resource.RLIMIT_FSIZE,
    "locks": 10,
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
    "rss": resource.RLIMIT_RSS,
    "rtprio": resource.RLIMIT_RTPRIO,
    "rttime": resource.RLIMIT_RTTIME,
    "sigpending": resource.RLIMIT_SIGPENDING,
    "stack": resource.RLIMIT_STACK,
}
_UNLIMITED = 2**64 - 1


def _own_hard_limit(name: str) -> int:
    hard = resource.getrlimit(_NUMBERS[name])[1]
    return _UNLIMITED if hard == resource.RLIM_INFINITY else hard


def resolve(
    asked: Sequence[Ulimit],
    *,
    may_raise: bool | None = None,
    hard_limit: Callable[[str], int] = _own_hard_limit,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The runtime's rlimits and warnings for those that were cut.

    Without CAP_SYS_RESOURCE (``may_raise``; None: look) nothing above the engine's own hard limit can be set, and the
    runtime would refuse the whole container: such a limit is cut to what can be.
    """
    may = "CAP_SYS_RESOURCE" in grantable() if may_raise is None else may_raise
    limits: list[dict[str, Any]] = []
    warnings: list[str] = []
    for ulimit in asked:
        soft, hard = (_UNLIMITED if value < 0 else value for value in (ulimit.soft, ulimit.hard))
        most = _UNLIMITED if may else hard_limit(ulimit.name)
        if hard > most:
            warnings.append(
                f"ulimit {ulimit.name}: hard limit {ulimit.hard} is above what the host allows, using {most}"
            )
            hard = most
        limits.append({"type": "RLIMIT_" + ulimit.name.upper(), "hard": hard, "soft": min(soft, hard)})
    return limits, warnings
