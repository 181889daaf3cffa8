"""Wire types of what happens to containers (API: Container)."""

from __future__ import annotations

from store.objects.containers import DockerStruct, RestartPolicy


class WaitError(DockerStruct, frozen=True, kw_only=True):
    """Why waiting failed."""

    message: str


class WaitResponse(DockerStruct, frozen=True, kw_only=True):
    """How a container ended."""

    error: WaitError | None = None
    status_code: int


class UpdateRequest(DockerStruct, frozen=True, kw_only=True):
    """The body of ``POST /containers/{id}/update``; what is absent or empty stays as it is."""

    blkio_weight: int = 0
    cpu_shares: int = 0
    nano_cpus: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    kernel_memory: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    pids_limit: int | None = None
    restart_policy: RestartPolicy = RestartPolicy()


class UpdateResponse(DockerStruct, frozen=True, kw_only=True):
    """What may surprise."""

    warnings: list[str] | None


class PruneReport(DockerStruct, frozen=True, kw_only=True):
    """What a prune removed, and the bytes that this freed."""

    containers_deleted: list[str] | None
    space_reclaimed: int
