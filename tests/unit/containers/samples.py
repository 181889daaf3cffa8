"""Containers for tests of decisions."""

from __future__ import annotations

from typing import Any

from store.objects import Container, ContainerConfig, ContainerSpec, ContainerStatus, HostConfig, Meta
from store.objects.containers import RestartPolicy

SECOND = 1_000_000_000
NOW = 1_000_000 * SECOND


def container(
    *,
    policy: str = "",
    retries: int = 0,
    auto_remove: bool = False,
    deleted: bool = False,
    status: dict[str, Any] | None = None,
    **spec: Any,
) -> Container:
    """A container with this spec and status, all else usual."""
    restart = RestartPolicy(name=policy, maximum_retry_count=retries)
    host = HostConfig(restart_policy=restart, auto_remove=auto_remove)
    return Container(
        meta=Meta(uid="c" * 64, name="sample", deletion_requested_at=NOW if deleted else None),
        spec=ContainerSpec(
            config=spec.pop("config", ContainerConfig()), host=host, image_id="", path="true", args=(), **spec
        ),
        status=ContainerStatus(**{"observed_generation": 1, **(status or {})}),
    )
