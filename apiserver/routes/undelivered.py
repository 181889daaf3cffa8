"""The operations of the API that the engine does not have yet: they say so, and nothing pretends."""

from __future__ import annotations

from functools import partial

import msgspec
from aiohttp import web

from apiserver.composition import Engine
from apiserver.dispatch import Call, Route
from apiserver.rendering import json_response
from store.errors import NotFoundError, NotImplementedYetError
from store.objects import Event

# What each group is, as the message names it, and its operations: method, path, operation id.
OPERATIONS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "building images": (
        ("POST", "/build", "ImageBuild"),
        ("POST", "/commit", "ImageCommit"),
        ("POST", "/session", "Session"),
    ),
    "pushing to registries and searching them": (
        ("POST", "/images/{name:.+}/push", "ImagePush"),
        ("GET", "/images/search", "ImageSearch"),
        ("POST", "/auth", "SystemAuth"),
        ("GET", "/distribution/{name:.+}/json", "DistributionInspect"),
    ),
    "plugins": (
        ("GET", "/plugins", "PluginList"),
        ("GET", "/plugins/privileges", "GetPluginPrivileges"),
        ("POST", "/plugins/pull", "PluginPull"),
        ("POST", "/plugins/create", "PluginCreate"),
        ("DELETE", "/plugins/{name:.+}", "PluginDelete"),
        ("POST", "/plugins/{name:.+}/enable", "PluginEnable"),
        ("POST", "/plugins/{name:.+}/disable", "PluginDisable"),
        ("POST", "/plugins/{name:.+}/upgrade", "PluginUpgrade"),
        ("POST", "/plugins/{name:.+}/push", "PluginPush"),
        ("POST", "/plugins/{name:.+}/set", "PluginSet"),
    ),
    "swarm mode": (
        ("GET", "/swarm", "SwarmInspect"),
        ("POST", "/swarm/init", "SwarmInit"),
        ("POST", "/swarm/join", "SwarmJoin"),
        ("POST", "/swarm/leave", "SwarmLeave"),
        ("POST", "/swarm/update", "SwarmUpdate"),
        ("GET", "/swarm/unlockkey", "SwarmUnlockkey"),
        ("POST", "/swarm/unlock", "SwarmUnlock"),
        ("GET", "/nodes", "NodeList"),
        ("GET", "/nodes/{id}", "NodeInspect"),
        ("DELETE", "/nodes/{id}", "NodeDelete"),
        ("POST", "/nodes/{id}/update", "NodeUpdate"),
        ("GET", "/services", "ServiceList"),
        ("POST", "/services/create", "ServiceCreate"),
        ("GET", "/services/{id}", "ServiceInspect"),
        ("DELETE", "/services/{id}", "ServiceDelete"),
        ("POST", "/services/{id}/update", "ServiceUpdate"),
        ("GET", "/services/{id}/logs", "ServiceLogs"),
        ("GET", "/tasks", "TaskList"),
        ("GET", "/tasks/{id}", "TaskInspect"),
        ("GET", "/tasks/{id}/logs", "TaskLogs"),
        ("GET", "/secrets", "SecretList"),
        ("POST", "/secrets/create", "SecretCreate"),
        ("GET", "/secrets/{id}", "SecretInspect"),
        ("DELETE", "/secrets/{id}", "SecretDelete"),
        ("POST", "/secrets/{id}/update", "SecretUpdate"),
        ("GET", "/configs", "ConfigList"),
        ("POST", "/configs/create", "ConfigCreate"),
        ("GET", "/configs/{id}", "ConfigInspect"),
        ("DELETE", "/configs/{id}", "ConfigDelete"),
        ("POST", "/configs/{id}/update", "ConfigUpdate"),
    ),
}


class BuildPruneResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What was removed of the build cache, and how many bytes that set free."""

    caches_deleted: list[str] | None
    space_reclaimed: int


def routes(engine: Engine) -> list[Route]:
    """The operations of this module."""
    refused = [
        Route(
            method,
            path,
            partial(refuse, subject),
            operation,
            summary=f"Not implemented yet: {subject}.",
            status=501,
            delivered=False,
        )
        for subject, operations in OPERATIONS.items()
        for method, path, operation in operations
    ]
    return [
        *refused,
        Route(
            "POST",
            "/build/prune",
            partial(prune_build_cache, engine),
            "BuildPrune",
            since="1.31",
            summary="Remove the build cache; there is none while the engine cannot build.",
            response=BuildPruneResponse,
        ),
        Route(
            "GET",
            "/plugins/{name:.+}/json",
            inspect_plugin,
            "PluginInspect",
            since="1.25",
            summary="Look at a plugin; there is none while the engine has no plugins.",
        ),
    ]


async def refuse(subject: str, call: Call) -> web.StreamResponse:
    """501 for any request."""
    raise NotImplementedYetError(f"not implemented by this engine yet: {subject} ({call.route.operation})")


async def prune_build_cache(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /build/prune``: 200. Who cannot build has no cache; ``docker system prune`` asks for this."""
    del call
    told = Event(type="builder", action="prune", actor="", attributes={"reclaimed": "0"})
    await engine.store.commit(lambda tx: tx.emit(told), durable=False)
    return json_response(BuildPruneResponse(caches_deleted=None, space_reclaimed=0))


async def inspect_plugin(call: Call) -> web.StreamResponse:
    """``GET /plugins/{name}/json``: 404. ``docker inspect NAME`` asks every kind of object, this one last."""
    raise NotFoundError(f'plugin "{call.path["name"]}" not found')
