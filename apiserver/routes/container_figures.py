"""Figures of running containers: what they use, what runs in them, the size of their terminal."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from aiohttp import web

from apiserver.composition import Engine
from apiserver.dispatch import Call, Parameter, Route
from apiserver.queries import parse_int
from apiserver.rendering import encode, json_response
from apiserver.routes import lookup
from apiserver.streams import stream
from apiserver.timestamps import rfc3339
from apiserver.wire import versions
from controllers.containers import attach, cgroups, processes, stats
from controllers.containers.events import event
from store.errors import ConflictError
from store.objects import Container

INTERVAL = 1.0
"""Seconds between two samples of a stream, and between the two of a single answer."""


def routes(engine: Engine) -> list[Route]:
    """The operations of this module."""
    return [
        Route(
            "GET",
            "/containers/{id}/stats",
            partial(usage, engine),
            "ContainerStats",
            summary="What a container uses: once, or each second.",
            parameters=(
                Parameter("stream", "boolean", "Send a sample each second (the default)."),
                Parameter("one-shot", "boolean", "A single sample at once, without the one before."),
            ),
        ),
        Route(
            "GET",
            "/containers/{id}/top",
            partial(top, engine),
            "ContainerTop",
            summary="The processes in a container, as ps shows them.",
            parameters=(Parameter("ps_args", "string", "Arguments for ps; -ef when empty."),),
        ),
        Route(
            "POST",
            "/containers/{id}/resize",
            partial(resize, engine),
            "ContainerResize",
            summary="Set the size of a container's terminal.",
            parameters=(Parameter("h", "integer", "Rows."), Parameter("w", "integer", "Columns.")),
        ),
    ]


async def usage(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /containers/{id}/stats``: a container that does not run has empty figures."""
    container = lookup.container(engine.store, call.path["id"])
    streaming = call.query.flag("stream", default=True)
    one_shot = call.query.flag("one-shot") and versions.has(call.version, "stats.one-shot")
    if not streaming:
        if not container.running:
            return json_response(_empty(container))
        before: dict[str, Any] = {}
        if not one_shot:
            before = await _sample(engine, container)
            await asyncio.sleep(INTERVAL)
        return json_response(_message(container, await _sample(engine, container), before))
    return await _stream(engine, call, container)


async def _stream(engine: Engine, call: Call, container: Container) -> web.StreamResponse:
    response = await stream(call, "application/json")
    before: dict[str, Any] = {}
    while True:
        current = engine.store.containers.get(container.uid)
        if current is None or current.meta.deletion_requested_at is not None:
            break
        if current.running:
            sampled = await _sample(engine, current)
            await response.write(encode(_message(current, sampled, before)) + b"\n")
            before = sampled
        else:
            await response.write(encode(_empty(current)) + b"\n")
            before = {}
        await asyncio.sleep(INTERVAL)
    await response.write_eof()
    return response


async def _sample(engine: Engine, container: Container) -> dict[str, Any]:
    own_network = not container.network_mode.startswith(("host", "container:"))
    cgroup = cgroups.path_of(container, engine.layout)
    sampled = await asyncio.to_thread(stats.sample, cgroup, container.status.pid, network=own_network)
    return {"read": rfc3339(stats.now()), **sampled}


def _message(container: Container, sampled: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    message = {
        "read": sampled["read"],
        "preread": before.get("read", rfc3339(0)),
        "pids_stats": sampled["pids_stats"],
        "blkio_stats": sampled["blkio_stats"],
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": sampled["cpu_stats"],
        "precpu_stats": before.get("cpu_stats", stats.NOTHING),
        "memory_stats": sampled["memory_stats"],
        "name": "/" + container.name,
        "id": container.uid,
    }
    if "networks" in sampled:
        message["networks"] = sampled["networks"]
    return message


def _empty(container: Container) -> dict[str, Any]:
    return {
        "read": rfc3339(0),
        "preread": rfc3339(0),
        "pids_stats": {},
        "blkio_stats": stats.NO_BLOCK,
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": stats.NOTHING,
        "precpu_stats": stats.NOTHING,
        "memory_stats": {},
        "name": "/" + container.name,
        "id": container.uid,
    }


async def top(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /containers/{id}/top``: 409 unless it runs, 400 with ps' own words."""
    container = await lookup.settled(engine.store, call.path["id"])
    _require_running(container)
    if container.status.phase == "restarting":
        raise ConflictError(f"Container {container.uid} is restarting, wait until the container is running")
    pids = await asyncio.to_thread(cgroups.processes, cgroups.path_of(container, engine.layout))
    titles, rows = await processes.top(call.query.text("ps_args"), pids)
    told = event(container, "top")
    await engine.store.commit(lambda tx: tx.emit(told), durable=False)
    return json_response({"Processes": rows, "Titles": titles})


def _require_running(container: Container) -> None:
    if not container.running:
        raise ConflictError(f"Container {container.uid} is not running")


async def resize(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/resize``: 400 for no numbers, 409 unless it runs."""
    height, width = parse_int(call.query.text("h")), parse_int(call.query.text("w"))
    container = await lookup.settled(engine.store, call.path["id"])
    _require_running(container)
    attach.resize(engine.layout, container.uid, height, width)
    told = event(container, "resize", height=str(height), width=str(width))
    await engine.store.commit(lambda tx: tx.emit(told), durable=False)
    return web.Response(status=200)
