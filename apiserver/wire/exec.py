"""Execs at the wire (API: ExecConfig, ExecStartConfig, ExecInspectResponse)."""

from __future__ import annotations

import msgspec

from controllers.containers.execs import Exec
from store.objects.containers import DockerStruct


class ExecCreateRequest(DockerStruct, frozen=True, kw_only=True):
    """``POST /containers/{id}/exec``."""

    user: str = ""
    privileged: bool = False
    tty: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    detach_keys: str = ""
    env: list[str] | None = None
    working_dir: str = ""
    cmd: list[str] | None = None


class ExecCreateResponse(DockerStruct, frozen=True, kw_only=True):
    """The new exec's id."""

    id: str


class ExecStartRequest(DockerStruct, frozen=True, kw_only=True):
    """``POST /exec/{id}/start``."""

    detach: bool = False
    tty: bool = False


class ProcessConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What runs."""

    tty: bool | None = None
    entrypoint: str | None = None
    arguments: list[str] | None = None
    privileged: bool | None = None
    user: str = ""


class ExecInspect(DockerStruct, frozen=True, kw_only=True):
    """``GET /exec/{id}/json``."""

    id: str = msgspec.field(name="ID")
    running: bool
    exit_code: int | None
    process_config: ProcessConfig
    open_stdin: bool
    open_stderr: bool
    open_stdout: bool
    can_remove: bool
    container_id: str = msgspec.field(name="ContainerID")
    detach_keys: str
    pid: int


def inspect(found: Exec, keys: bytes) -> ExecInspect:
    """An exec as clients see it."""
    config = found.config
    return ExecInspect(
        id=found.uid,
        running=found.running,
        exit_code=found.exit_code,
        process_config=ProcessConfig(
            tty=config.tty,
            entrypoint=config.command[0],
            arguments=list(config.command[1:]),
            privileged=config.privileged,
            user=config.user,
        ),
        open_stdin=config.attach_stdin,
        open_stderr=config.attach_stderr,
        open_stdout=config.attach_stdout,
        can_remove=False,
        container_id=found.container,
        detach_keys=keys.decode("latin-1") if config.detach_keys else "",
        pid=found.pid,
    )
