"""Execs at the wire (API: ExecConfig, ExecStartConfig, ExecInspectResponse)."""

from __future__ import annotations

import msgspec

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
