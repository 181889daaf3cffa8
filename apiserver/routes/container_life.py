"""A container's life: start, stop, restart, kill, pause, rename, update, remove, prune.

Each writes a wish into the spec and waits until the loop has fulfilled it or said why not.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial

from aiohttp import web
from msgspec.structs import replace

from apiserver.admission import life
from apiserver.composition import Engine
from apiserver.dispatch import Call, Parameter, Route
from apiserver.queries import parse_int
from apiserver.rendering import json_response, no_content
from apiserver.routes import container_wait, lookup
from apiserver.wire import versions
from apiserver.wire.container_life import PruneReport, UpdateRequest, UpdateResponse
from controllers.containers.events import event
from store import errors
from store.crashpoints import crashpoint
from store.errors import ConflictError, EngineError, InvalidParameterError, NotFoundError
from store.objects import Container, ContainerSpec, Event
from store.store import NameTakenError, Transaction

START_TIMEOUT = 300.0
REMOVE_TIMEOUT = 120.0
KILL_TIMEOUT = 30.0
SPARE = 60.0
"""Seconds beyond its grace in which a stop has to be over."""
LONGEST_TIMER = 1e8
"""Seconds; some years."""
DESCRIBED = {
    "ContainerStart": "Start a container.",
    "ContainerStop": "Stop a container: its stop signal, and after the grace a SIGKILL.",
    "ContainerRestart": "Stop a container if it runs, and start it.",
    "ContainerKill": "Send a signal to a container's first process.",
    "ContainerPause": "Freeze all processes of a container.",
    "ContainerUnpause": "Let a frozen container run on.",
    "ContainerRename": "Give a container another name.",
}
GRACE = Parameter("t", "integer", "Seconds until the SIGKILL; below 0: for ever.")


def routes(engine: Engine) -> list[Route]:
    """The operations of this module."""

    def simple(operation: str, verb: str, handler: Callable[[Engine, Call], object], *parameters: Parameter) -> Route:
        return Route(
            "POST",
            f"/containers/{{id}}/{verb}",
            partial(handler, engine),  # type: ignore[arg-type]
            operation,
            summary=DESCRIBED[operation],
            status=204,
            parameters=parameters,
        )

    return [
        simple("ContainerStart", "start", start, Parameter("detachKeys", summary="Keys that detach; not used here.")),
        simple("ContainerStop", "stop", stop, GRACE),
        simple("ContainerRestart", "restart", restart, GRACE),
        simple("ContainerKill", "kill", kill, Parameter("signal", summary="Name or number; SIGKILL by default.")),
        simple("ContainerPause", "pause", pause),
        simple("ContainerUnpause", "unpause", unpause),
        simple("ContainerRename", "rename", rename, Parameter("name", summary="The new name.", required=True)),
        *container_wait.routes(engine),
        Route(
            "POST",
            "/containers/{id}/update",
            partial(update, engine),
            "ContainerUpdate",
            summary="Change a container's limits and restart policy, also while it runs.",
            request=UpdateRequest,
            response=UpdateResponse,
        ),
        Route(
            "DELETE",
            "/containers/{id}",
            partial(remove, engine),
            "ContainerDelete",
            summary="Remove a container.",
            status=204,
            parameters=(
                Parameter("v", "boolean", "Also its anonymous volumes."),
                Parameter("force", "boolean", "Kill it first if it runs."),
                Parameter("link", "boolean", "Only the link of that name."),
            ),
        ),
        Route(
            "POST",
            "/containers/prune",
            partial(prune, engine),
            "ContainerPrune",
            since="1.25",
            summary="Remove all containers that do not run.",
            response=PruneReport,
            parameters=(Parameter("filters", summary="JSON object: until, label, label!."),),
        ),
    ]


async def wish(engine: Engine, uid: str, spec: Callable[[Container], ContainerSpec]) -> Container:
    """Commit the spec that ``spec`` makes of the container's present state; what it raises changes nothing."""

    def change(tx: Transaction) -> Container:
        current = tx.get(Container, uid)
        if current is None:
            raise NotFoundError(f"No such container: {uid}")
        wanted = spec(current)
        return current if wanted == current.spec else tx.update(current.edited(spec=wanted))

    container = await engine.store.commit(change)
    crashpoint("container.wish.committed")
    return container


async def fulfilled(
    engine: Engine, wished: Container, until: Callable[[Container], bool], timeout: float | None, what: str
) -> Container | None:
    """Wait for a wish's end: the container as it is then, None when it is gone. Raises what the loop says failed."""

    def over(container: Container | None) -> bool:
        return container is None or until(container) or _failed(container, wished)

    try:
        container = await engine.store.wait_for(Container, wished.uid, over, timeout)
    except TimeoutError:
        raise EngineError(f"cannot {what} container {wished.uid}: not done after {timeout} s, it goes on") from None
    if container is not None and _failed(container, wished):
        failure = container.status.failure
        assert failure is not None
        raise getattr(errors, failure.kind, EngineError)(failure.message)
    return container


def _failed(container: Container, wished: Container) -> bool:
    failure = container.status.failure
    return failure is not None and failure.generation >= wished.meta.generation


async def start(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/start``: 304 when it runs, 409 when paused, what failed otherwise."""
    if (call.request.content_length or 0) > 7 or call.request.headers.get("Transfer-Encoding"):
        raise InvalidParameterError(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
        )
    container = lookup.container(engine.store, call.path["id"])
    wished = await wish(engine, container.uid, life.started)
    await _up(engine, wished, START_TIMEOUT)
    return no_content()


async def _up(engine: Engine, wished: Container, timeout: float | None) -> None:
    starts = wished.spec.starts
    await fulfilled(engine, wished, lambda current: current.status.starts >= starts, timeout, "start")


async def stop(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/stop``: 304 when it does not run."""
    grace = _grace(call)
    container = await lookup.settled(engine.store, call.path["id"])
    if not container.running and container.status.phase != "restarting":
        return no_content(304)
    await _down(engine, container, life.stop_request(container, grace).timeout)
    return no_content()


async def _down(engine: Engine, container: Container, grace: float) -> None:
    def spec(current: Container) -> ContainerSpec:
        return life.stopped(current, replace(life.stop_request(current, None), timeout=grace))

    wished = await wish(engine, container.uid, spec)
    await fulfilled(engine, wished, _at_rest, _patience(grace, SPARE), "stop")


def _patience(grace: float, more: float) -> float | None:
    """For how long a stop with this grace is waited for; None, without end, where a timer could not count that far."""
    return grace + more if 0 <= grace <= LONGEST_TIMER else None


def _at_rest(container: Container) -> bool:
    return not container.running and container.status.phase != "restarting"


def _grace(call: Call) -> int | None:
    text = call.query.text("t")
    return parse_int(text) if text else None


async def restart(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/restart``: starts also what does not run."""
    grace = _grace(call)
    container = lookup.container(engine.store, call.path["id"])
    wished = await wish(engine, container.uid, lambda current: life.restarted(current, grace))
    stop = wished.spec.stop
    try:
        await _up(engine, wished, _patience(stop.timeout if stop else 0, START_TIMEOUT))
    except EngineError as error:
        raise EngineError(f"Cannot restart container {call.path['id']}: {error}") from None
    return no_content()


async def kill(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/kill``: with SIGKILL it is dead afterwards. 409 when it does not run."""
    text = call.path["id"]
    try:
        number = life.kill_signal(call.query.text("signal"))
    except InvalidParameterError as error:
        # dockerd finds out whether Linux has a signal only when it is about to send it.
        prefix = f"Cannot kill container: {text}: " if "support" in str(error) else ""
        raise InvalidParameterError(prefix + str(error)) from None
    try:
        container = await lookup.settled(engine.store, text)
        life.check_running(container)
        if number == signal.SIGKILL or container.status.phase == "restarting":
            wished = await wish(engine, container.uid, lambda current: life.stopped(current, life.KILL))
            crashpoint("container.kill.wished")
            await fulfilled(engine, wished, _at_rest, KILL_TIMEOUT, "kill")
        else:
            await engine.containers.kill(container.uid, number)
    except EngineError as error:
        raise type(error)(f"Cannot kill container: {text}: {error}") from None
    return no_content()


async def pause(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/pause``: 409 when it does not run or is paused."""
    container = await lookup.settled(engine.store, call.path["id"])
    wished = await wish(engine, container.uid, life.paused)
    await fulfilled(engine, wished, partial(_caught_up, wished), KILL_TIMEOUT, "pause")
    return no_content()


async def unpause(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/unpause``."""
    container = lookup.container(engine.store, call.path["id"])
    wished = await wish(engine, container.uid, life.unpaused)
    await fulfilled(engine, wished, partial(_caught_up, wished), KILL_TIMEOUT, "unpause")
    return no_content()


def _caught_up(wished: Container, current: Container) -> bool:
    return current.status.observed_generation >= wished.meta.generation


async def rename(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/rename``: 400 for a name that cannot be, 409 for one in use."""
    text = call.query.text("name")
    if not text.removeprefix("/"):
        raise InvalidParameterError("Neither old nor new names may be empty")
    container = lookup.container(engine.store, call.path["id"])

    def change(tx: Transaction) -> None:
        current = tx.get(Container, container.uid)
        if current is None:
            raise NotFoundError(f"No such container: {container.uid}")
        renamed = current.with_meta(name=life.new_name(current, text))
        tx.update(renamed)
        engine.networks.rename(tx, renamed, current.name)
        tx.emit(event(renamed, "rename", oldName=f"/{current.name}"))

    try:
        await engine.store.commit(change)
    except NameTakenError as taken:
        raise ConflictError(
            f'Error when allocating new name: Conflict. The container name "/{taken.name}" is already in use by '
            f'container "{taken.holder_uid}". You have to remove (or rename) that container to be able to reuse that '
            "name."
        ) from None
    crashpoint("container.rename.committed")
    return no_content()


async def update(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/update``: 400 for values that cannot be, 409 for those that do not fit."""
    request = await call.body(UpdateRequest)
    container = lookup.container(engine.store, call.path["id"])

    warnings: list[str] = []

    def spec(current: Container) -> ContainerSpec:
        host, warnings[:] = life.updated(current, request, engine.facts, call.version)
        return replace(current.spec, host=host)

    before = container.spec.host
    container = await wish(engine, container.uid, spec)
    crashpoint("container.update.committed")
    if container.running:
        try:
            await engine.containers.update(container)
        except EngineError as error:
            await wish(engine, container.uid, lambda current: replace(current.spec, host=before))
            raise type(error)(f"Cannot update container {container.uid}: {error}") from None
        crashpoint("container.update.applied")
    await engine.store.commit(lambda tx: tx.emit(event(container, "update")), durable=False)
    return json_response(UpdateResponse(warnings=warnings or None))


async def remove(engine: Engine, call: Call) -> web.StreamResponse:
    """``DELETE /containers/{id}``: 409 while it runs, unless ``force``."""
    container = lookup.container(engine.store, call.path["id"])
    if call.query.flag("link"):
        await _unlink(engine, call.path["id"])
        return no_content()
    await _remove(engine, container.uid, force=call.query.flag("force"), volumes=call.query.flag("v"))
    return no_content()


async def _unlink(engine: Engine, text: str) -> None:
    """Forget a link; neither container is touched otherwise."""
    found = lookup.link(engine.store, text)
    if found is None:
        raise ConflictError("Conflict, cannot remove the default link name of the container")
    parent, link = found

    def spec(current: Container) -> ContainerSpec:
        return replace(current.spec, links=tuple(each for each in current.spec.links if each != link))

    await wish(engine, parent.uid, spec)


async def _remove(engine: Engine, uid: str, *, force: bool, volumes: bool) -> None:
    def change(tx: Transaction) -> None:
        current = tx.get(Container, uid)
        if current is None:
            raise NotFoundError(f"No such container: {uid}")
        life.check_removable(current, force=force)
        spec = replace(current.spec, remove_volumes=volumes, manually_stopped=True)
        tx.update(current.edited(spec=spec).with_meta(deletion_requested_at=time.time_ns()))

    await engine.store.commit(change)
    crashpoint("container.remove.requested")
    try:
        await engine.store.wait_for(Container, uid, lambda current: current is None, REMOVE_TIMEOUT)
    except TimeoutError:
        raise EngineError(f"container {uid}: removal is not done after {REMOVE_TIMEOUT:g} s, it goes on") from None


async def prune(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /containers/prune``: the ids of what was removed, and the bytes that this freed."""
    wanted = life.prunable(call.query.filters(life.PRUNE_FILTERS))
    removed: list[str] = []
    freed = 0
    for container in [container for container in engine.store.containers if wanted(container)]:
        size = await engine.containers.written_bytes(container.uid)
        try:
            await _remove(engine, container.uid, force=False, volumes=False)
        except (ConflictError, NotFoundError):
            # Somebody has just started it, or removed it.
            continue
        removed.append(container.uid)
        freed += size
    told = Event(type="container", action="prune", actor="", attributes={"reclaimed": str(freed)})
    if versions.has(call.version, "events.prune"):
        await engine.store.commit(lambda tx: tx.emit(told), durable=False)
    return json_response(PruneReport(containers_deleted=removed or None, space_reclaimed=freed))
